#include "monolith/native_training/runtime/ops/table_files/in_threads.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace monolith {
namespace {

// A thread both reads and inserts, so a few keep up with most storage.
constexpr size_t kMaxThreads = 4;

}  // namespace

absl::Status ForEachInThreads(tensorflow::Env* env, size_t n,
                              absl::FunctionRef<absl::Status(size_t)> body) {
  std::mutex mutex;
  absl::Status status;
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < n; i = next++) {
      const absl::Status done = body(i);
      if (done.ok()) continue;
      next = n;
      std::lock_guard<std::mutex> lock(mutex);
      status.Update(done);
    }
  };
  std::vector<std::unique_ptr<tensorflow::Thread>> threads;
  for (size_t i = 1; i < std::min(n, kMaxThreads); ++i) {
    threads.emplace_back(env->StartThread({}, "monolith_restore", work));
  }
  work();
  threads.clear();  // Waits for them.
  return status;
}

}  // namespace monolith
