#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

#include <algorithm>
#include <atomic>

namespace monolith {

// One ParallelFor in progress. Shared with the threads, because a thread may
// look at it after the caller has left; the body is only called for claimed
// indexes, and the caller stays until all those have returned.
struct ThreadPoolExecutor::Loop {
  Loop(int64_t n, absl::FunctionRef<void(int64_t)> body) : n(n), body(body) {}

  bool Exhausted() const { return next.load(std::memory_order_relaxed) >= n; }

  // Runs bodies until none is left to claim.
  void Work() {
    int64_t ran = 0;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) {
      body(i);
      ++ran;
    }
    if (ran == 0) return;
    std::lock_guard<std::mutex> lock(mutex);
    done += ran;
    if (done == n) finished.notify_all();
  }

  void WaitUntilDone() {
    std::unique_lock<std::mutex> lock(mutex);
    finished.wait(lock, [this] { return done == n; });
  }

  const int64_t n;
  const absl::FunctionRef<void(int64_t)> body;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable finished;
  int64_t done = 0;  // guarded by mutex
};

ThreadPoolExecutor::ThreadPoolExecutor(int num_threads) {
  threads_.reserve(static_cast<size_t>(std::max(num_threads - 1, 0)));
  for (int i = 1; i < num_threads; ++i) {
    threads_.emplace_back([this] { RunThread(); });
  }
}

ThreadPoolExecutor::~ThreadPoolExecutor() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPoolExecutor::ParallelFor(int64_t n,
                                     absl::FunctionRef<void(int64_t)> body) {
  if (n <= 0) return;
  if (n == 1 || threads_.empty()) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  auto loop = std::make_shared<Loop>(n, body);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    loops_.push_back(loop);
  }
  wake_.notify_all();
  loop->Work();
  loop->WaitUntilDone();
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = std::find(loops_.begin(), loops_.end(), loop);
  if (it != loops_.end()) loops_.erase(it);
}

void ThreadPoolExecutor::RunThread() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !loops_.empty(); });
    if (stopping_) return;
    std::shared_ptr<Loop> loop = loops_.front();
    if (loop->Exhausted()) {
      loops_.pop_front();
      continue;
    }
    lock.unlock();
    loop->Work();
    lock.lock();
  }
}

}  // namespace monolith
