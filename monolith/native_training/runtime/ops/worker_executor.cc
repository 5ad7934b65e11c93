#include "monolith/native_training/runtime/ops/worker_executor.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "monolith/native_training/runtime/concurrency/shared_loop.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith {

WorkerExecutor::WorkerExecutor(tensorflow::OpKernelContext* context)
    : workers_(context->device()->tensorflow_cpu_worker_threads()->workers),
      // The calling thread takes part, but is not one more: every core that is
      // not waiting has work then.
      num_threads_(std::max(1, workers_->NumThreads())) {}

void WorkerExecutor::ParallelFor(int64_t n,
                                 absl::FunctionRef<void(int64_t)> body) {
  const int64_t helpers = std::min<int64_t>(n, num_threads_) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  auto loop = std::make_shared<SharedLoop>(n, body);
  for (int64_t h = 0; h < helpers; ++h) {
    workers_->Schedule([loop] { loop->Work(); });
  }
  loop->Work();
  loop->Wait();
}

}  // namespace monolith
