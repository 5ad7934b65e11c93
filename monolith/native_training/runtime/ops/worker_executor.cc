#include "monolith/native_training/runtime/ops/worker_executor.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith {
namespace {

// Shared by the caller and its helpers. A helper that starts when all bodies
// are taken looks at `next` only, so `body` may be gone by then.
struct Loop {
  Loop(int64_t n, absl::FunctionRef<void(int64_t)> body) : n(n), body(body) {}

  void Work() {
    int64_t mine = 0;
    for (;;) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= n) break;
      body(i);
      ++mine;
    }
    if (mine == 0) return;
    if (done.fetch_add(mine, std::memory_order_acq_rel) + mine == n) {
      std::lock_guard<std::mutex> lock(mutex);
      all_done.notify_one();
    }
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock,
                  [this] { return done.load(std::memory_order_acquire) == n; });
  }

  const int64_t n;
  const absl::FunctionRef<void(int64_t)> body;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex mutex;
  std::condition_variable all_done;
};

}  // namespace

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
  auto loop = std::make_shared<Loop>(n, body);
  for (int64_t h = 0; h < helpers; ++h) {
    workers_->Schedule([loop] { loop->Work(); });
  }
  loop->Work();
  loop->Wait();
}

}  // namespace monolith
