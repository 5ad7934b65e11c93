// Readers and writers at once. Meant for ThreadSanitizer as well.

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

constexpr int kDim = 40;  // more than a cache line
constexpr int64_t kIds = 20000;

std::vector<int64_t> RandomIds(std::mt19937_64& random) {
  std::vector<int64_t> ids(random() % 16 == 0 ? 3000 : random() % 300);
  for (int64_t& id : ids) id = static_cast<int64_t>(random() % kIds);
  return ids;
}

// Every writer writes rows whose floats are all alike, so a torn row shows.
class StressTest : public testing::Test {
 protected:
  StressTest() : pool_(2), table_(MakeTable(Config())) {}

  static TableConfig Config() {
    TableConfig config = OneSegment(kDim, {"adagrad", {}});
    config.segments[0].initializer = {"constants", {{"constant", 0.5}}};
    return config;
  }

  static bool IsUniform(const float* row, int dim) {
    for (int i = 1; i < dim; ++i) {
      if (row[i] != row[0]) return false;
    }
    return std::isfinite(row[0]);
  }

  // Runs `step` with its own random numbers until it is to stop.
  template <typename Step>
  void Start(Step step) {
    const uint64_t seed = threads_.size();
    threads_.emplace_back([this, step, seed] {
      std::mt19937_64 random(seed);
      while (!stop_.load(std::memory_order_relaxed)) step(random);
      ++finished_;
    });
  }

  void StartReaders() {
    for (int i = 0; i < 2; ++i) {
      Start([this](std::mt19937_64& random) {
        const auto ids = RandomIds(random);
        std::vector<float> values(ids.size() * kDim);
        ASSERT_TRUE(table_
                        ->Lookup(ids,
                                 EmbeddingHashTable::MissingId::kInitialValue,
                                 absl::MakeSpan(values), pool_)
                        .ok());
        for (size_t row = 0; row < ids.size(); ++row) {
          ASSERT_TRUE(IsUniform(values.data() + row * kDim, kDim));
        }
        ++batches_read_;
      });
    }
    Start([this](std::mt19937_64& random) {
      EmbeddingHashTable::RowBatch rows;
      ASSERT_TRUE(table_->ExportStripe(random() % 64, &rows).ok());
      for (size_t row = 0; row < rows.ids.size(); ++row) {
        ASSERT_TRUE(IsUniform(rows.embeddings.data() + row * kDim, kDim));
        ASSERT_TRUE(IsUniform(rows.states.data() + row * kDim, kDim));
        ASSERT_GE(rows.states[row * kDim], 0.1f);
      }
      ASSERT_GE(table_->size(), 0);
      ASSERT_GT(table_->memory_bytes(), 0);
    });
  }

  void StartWriters() {
    Start([this](std::mt19937_64& random) {
      const auto ids = RandomIds(random);
      std::vector<float> values(ids.size() * kDim);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i / kDim);
      }
      ASSERT_TRUE((random() % 2 ? table_->Assign(ids, values, 1, pool_)
                                : table_->AssignAdd(ids, values, 1, pool_))
                      .ok());
    });
    Start([this](std::mt19937_64& random) {
      const auto ids = RandomIds(random);
      EmbeddingHashTable::UpdateOptions options;
      options.update_time = static_cast<uint32_t>(random() % 1000);
      ASSERT_TRUE(table_
                      ->ApplyGradients(
                          ids, std::vector<float>(ids.size() * kDim, 0.25f),
                          options, pool_)
                      .ok());
    });
    Start([this](std::mt19937_64& random) {
      if (random() % 8 == 0) {
        table_->Evict(3153600000u + static_cast<uint32_t>(random() % 900),
                      pool_);
      } else if (random() % 200 == 0) {
        table_->Clear();
      } else {
        ASSERT_TRUE(table_->Erase(RandomIds(random), pool_).ok());
      }
    });
  }

  void RunFor(int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    EXPECT_EQ(finished_, static_cast<int>(threads_.size()));
    EXPECT_GT(batches_read_, 0);
  }

  ThreadPoolExecutor pool_;
  std::unique_ptr<EmbeddingHashTable> table_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<int> finished_{0};
  std::atomic<int64_t> batches_read_{0};
};

TEST_F(StressTest, RowsAreNeverTorn) {
  StartReaders();
  StartWriters();
  RunFor(3000);
  // In peace, what is counted is what is there.
  EXPECT_EQ(static_cast<int64_t>(ExportAll(*table_).ids.size()),
            table_->size());
}

TEST_F(StressTest, ConcurrentAdditionsAllCount) {
  constexpr int kRounds = 200;
  std::vector<int64_t> ids(500);
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int64_t>(i % 250);
  const std::vector<float> ones(ids.size() * kDim, 1);
  for (int writer = 0; writer < 4; ++writer) {
    threads_.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        ASSERT_TRUE(table_->AssignAdd(ids, ones, 0, pool_).ok());
      }
    });
  }
  for (std::thread& thread : threads_) thread.join();
  for (float value : LookupAll(*table_, ids)) {
    ASSERT_EQ(value, 0.5f + 4 * kRounds * 2);
  }
}

}  // namespace
}  // namespace monolith
