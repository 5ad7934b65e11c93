#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_SHARED_LOOP_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_SHARED_LOOP_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"

namespace monolith {

// One ParallelFor in progress, for implementations of Executor: the caller and
// any number of helpers call Work, then the caller waits for what is left.
//
// Held by shared_ptr: a helper may begin when the caller has left. It finds no
// body to claim then, and so never touches `body`, which is gone by that time.
//
// Thread safety: thread-safe.
class SharedLoop {
 public:
  SharedLoop(int64_t n, absl::FunctionRef<void(int64_t)> body)
      : n_(n), body_(body) {}

  // Whether every body has been claimed.
  bool Exhausted() const { return next_.load(std::memory_order_relaxed) >= n_; }

  // Runs bodies until none is left to claim.
  void Work() {
    int64_t ran = 0;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) {
      body_(i);
      ++ran;
    }
    if (ran == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    done_ += ran;
    if (done_ == n_) finished_.notify_all();
  }

  // Returns when every body has returned; what they wrote is then visible.
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return done_ == n_; });
  }

 private:
  const int64_t n_;
  const absl::FunctionRef<void(int64_t)> body_;
  std::atomic<int64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
  int64_t done_ = 0;  // guarded by mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_SHARED_LOOP_H_
