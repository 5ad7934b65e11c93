#include "monolith/native_training/runtime/concurrency/executor.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

// Every executor keeps Executor's promises. The parameter is the number of
// threads of a pool; 0 is the inline executor.
class ExecutorTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() > 0) {
      pool_ = std::make_unique<ThreadPoolExecutor>(GetParam());
    }
  }

  Executor& executor() {
    if (pool_) return *pool_;
    return InlineExecutor::Get();
  }

 private:
  std::unique_ptr<ThreadPoolExecutor> pool_;
};

TEST_P(ExecutorTest, CallsEveryIndexOnce) {
  for (int64_t n : {0, 1, 2, 7, 1000}) {
    std::vector<int> calls(static_cast<size_t>(n), 0);
    executor().ParallelFor(n, [&](int64_t i) { ++calls[i]; });
    EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(n), 1));
  }
}

TEST_P(ExecutorTest, IgnoresNegativeCounts) {
  executor().ParallelFor(-3, [](int64_t) { FAIL(); });
}

TEST_P(ExecutorTest, ReportsItsThreads) {
  EXPECT_EQ(executor().num_threads(), GetParam() == 0 ? 1 : GetParam());
}

TEST_P(ExecutorTest, NestedLoopsFinish) {
  std::atomic<int> calls{0};
  executor().ParallelFor(8, [&](int64_t) {
    executor().ParallelFor(8, [&](int64_t) { ++calls; });
  });
  EXPECT_EQ(calls, 64);
}

TEST_P(ExecutorTest, ServesSeveralCallersAtOnce) {
  std::vector<int64_t> sums(4, 0);
  std::vector<std::thread> callers;
  for (int64_t& sum : sums) {
    callers.emplace_back([this, &sum] {
      for (int round = 0; round < 200; ++round) {
        std::vector<int64_t> parts(16, 0);
        executor().ParallelFor(16, [&](int64_t i) { parts[i] = i; });
        for (int64_t part : parts) sum += part;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sums, std::vector<int64_t>(4, 200 * 120));
}

INSTANTIATE_TEST_SUITE_P(Executors, ExecutorTest, testing::Values(0, 1, 2, 5));

TEST(ThreadPoolExecutorTest, UsesOtherThreads) {
  ThreadPoolExecutor executor(3);
  std::atomic<int> waiting{0};
  // Each body waits for the others, so they can only end side by side.
  executor.ParallelFor(3, [&](int64_t) {
    ++waiting;
    while (waiting < 3) std::this_thread::yield();
  });
  EXPECT_EQ(waiting, 3);
}

TEST(ThreadPoolExecutorTest, CountsLessThanOneThreadAsOne) {
  EXPECT_EQ(ThreadPoolExecutor(0).num_threads(), 1);
  EXPECT_EQ(ThreadPoolExecutor(-5).num_threads(), 1);
}

}  // namespace
}  // namespace monolith
