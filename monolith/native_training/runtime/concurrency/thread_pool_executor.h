#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_THREAD_POOL_EXECUTOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_THREAD_POOL_EXECUTOR_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/concurrency/shared_loop.h"

namespace monolith {

// A fixed set of threads for programs that have no pool yet: tests, benchmarks
// and tools.
//
// The calling thread works too, so a pool of n starts n - 1 threads, and a body
// may itself call ParallelFor without risk of deadlock.
//
// Thread safety: thread-safe. The destructor must not run before every
// ParallelFor has returned.
class ThreadPoolExecutor final : public Executor {
 public:
  // num_threads < 1 counts as 1.
  explicit ThreadPoolExecutor(int num_threads);
  ~ThreadPoolExecutor() override;

  ThreadPoolExecutor(const ThreadPoolExecutor&) = delete;
  ThreadPoolExecutor& operator=(const ThreadPoolExecutor&) = delete;

  int num_threads() const override {
    return static_cast<int>(threads_.size()) + 1;
  }

  void ParallelFor(int64_t n, absl::FunctionRef<void(int64_t)> body) override;

 private:
  void RunThread();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<SharedLoop>> loops_;  // guarded by mutex_
  bool stopping_ = false;                          // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_THREAD_POOL_EXECUTOR_H_
