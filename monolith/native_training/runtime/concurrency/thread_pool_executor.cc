#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

#include <algorithm>
#include <system_error>

namespace monolith {

ThreadPoolExecutor::ThreadPoolExecutor(int num_threads) {
  threads_.reserve(static_cast<size_t>(std::max(num_threads - 1, 0)));
  for (int i = 1; i < num_threads; ++i) {
    try {
      threads_.emplace_back([this] { RunThread(); });
    } catch (const std::system_error&) {
      return;  // The system has no more; those there are do the work.
    }
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
  auto loop = std::make_shared<SharedLoop>(n, body);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    loops_.push_back(loop);
  }
  wake_.notify_all();
  loop->Work();
  loop->Wait();
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = std::find(loops_.begin(), loops_.end(), loop);
  if (it != loops_.end()) loops_.erase(it);
}

void ThreadPoolExecutor::RunThread() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !loops_.empty(); });
    if (stopping_) return;
    std::shared_ptr<SharedLoop> loop = loops_.front();
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
