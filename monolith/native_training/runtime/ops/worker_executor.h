// TensorFlow's intra-op threads as the runtime's Executor.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_WORKER_EXECUTOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_WORKER_EXECUTOR_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/lib/core/threadpool.h"

namespace monolith {

// Borrows the threads of the device a kernel runs on. The calling thread works
// too and never waits for a thread to become free, only for bodies that have
// begun, so that a busy pool makes a loop serial instead of late.
//
// Thread safety: thread-safe. Must not outlive the kernel's Compute.
class WorkerExecutor final : public Executor {
 public:
  explicit WorkerExecutor(tensorflow::OpKernelContext* context);

  int num_threads() const override { return num_threads_; }
  void ParallelFor(int64_t n, absl::FunctionRef<void(int64_t)> body) override;

 private:
  tensorflow::thread::ThreadPool* workers_;
  int num_threads_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_WORKER_EXECUTOR_H_
