// Readers and writers at once while a table grows from empty through several
// layers of its index memory. Meant for ThreadSanitizer as well.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

constexpr int kDim = 3;
constexpr int kWriters = 2;
// Layer 0 of an index memory has room for 64 stripes x 1024 buckets x 5 ids:
// these need three layers.
constexpr int64_t kRowsPerWriter = 330'000;
constexpr uint32_t kExpired = 1, kKept = 200'000;  // update times
constexpr uint32_t kNow = kKept;

// The i-th id of a thread; no two are the same.
int64_t IdOf(int thread, int64_t i) {
  return static_cast<int64_t>(MixBits(static_cast<uint64_t>(i) * 8 + thread));
}

float ValueOf(int64_t i) { return static_cast<float>(i % 1000 + 1); }

class GrowthTest : public testing::Test {
 protected:
  GrowthTest() : pool_(2), table_(MakeTable(Config())) {}

  static TableConfig Config() {
    TableConfig config = OneSegment(kDim, {"sgd", {}});
    config.expire_time_days = 1;
    return config;
  }

  // Inserts rows that stay.
  void Write(int writer) {
    std::mt19937_64 random(static_cast<uint64_t>(writer));
    std::vector<int64_t> ids;
    std::vector<float> values;
    for (int64_t i = 0; i < kRowsPerWriter;) {
      ids.clear();
      values.clear();
      const int64_t end = std::min(
          kRowsPerWriter, i + 1 + static_cast<int64_t>(random() % 5000));
      for (; i < end; ++i) {
        ids.push_back(IdOf(writer, i));
        values.insert(values.end(), kDim, ValueOf(i));
      }
      ASSERT_TRUE(table_->Assign(ids, values, kKept, pool_).ok());
      written_[static_cast<size_t>(writer)] = i;
    }
  }

  // Finds every row that is known to be there, and none of ids never written.
  void Read(int reader) {
    constexpr int kNobody = kWriters + 1;
    std::mt19937_64 random(100 + static_cast<uint64_t>(reader));
    std::vector<int64_t> ids;
    std::vector<float> wanted, values;
    while (!stop_) {
      const size_t n = random() % 8 == 0 ? 9000 : 700;
      std::array<int64_t, kWriters> written;
      std::copy(written_.begin(), written_.end(), written.begin());
      ids.clear();
      wanted.clear();
      for (size_t row = 0; row < n; ++row) {
        const size_t writer = random() % (kWriters + 1);
        const bool is_there = writer < kWriters && written[writer] > 0;
        const int64_t i = static_cast<int64_t>(
            random() %
            static_cast<uint64_t>(is_there ? written[writer] : kRowsPerWriter));
        ids.push_back(IdOf(is_there ? static_cast<int>(writer) : kNobody, i));
        wanted.insert(wanted.end(), kDim, is_there ? ValueOf(i) : 0);
      }
      values.assign(wanted.size(), -1);
      ASSERT_TRUE(table_
                      ->Lookup(ids, EmbeddingHashTable::MissingId::kZero,
                               absl::MakeSpan(values), pool_)
                      .ok());
      ASSERT_EQ(values, wanted);
      ++batches_read_;
    }
  }

  // Puts other rows in and takes them out again, as expired or by name.
  void ComeAndGo() {
    std::mt19937_64 random(7);
    std::vector<int64_t> ids(3000);
    const std::vector<float> values(ids.size() * kDim, 5);
    while (!stop_) {
      int64_t i = static_cast<int64_t>(random() % kRowsPerWriter);
      for (int64_t& id : ids) id = IdOf(kWriters, i++);
      ASSERT_TRUE(table_->Assign(ids, values, kExpired, pool_).ok());
      if (random() % 4 == 0) {
        table_->Evict(kNow, pool_);
      } else {
        ASSERT_TRUE(table_->Erase(ids, pool_).ok());
      }
      ASSERT_GT(table_->memory_bytes(), 0);
    }
  }

  // Grows the table from empty; then all that was written is there.
  void Grow() {
    for (auto& written : written_) written = 0;
    batches_read_ = 0;
    stop_ = false;
    std::vector<std::thread> writers, others;
    for (int i = 0; i < kWriters; ++i) writers.emplace_back([=] { Write(i); });
    for (int i = 0; i < 2; ++i) others.emplace_back([=] { Read(i); });
    others.emplace_back([this] { ComeAndGo(); });
    for (std::thread& thread : writers) thread.join();
    stop_ = true;
    for (std::thread& thread : others) thread.join();
    ASSERT_GT(batches_read_, 0);

    // One at a time, Evict misses none.
    table_->Evict(kNow, pool_);
    ASSERT_EQ(table_->size(), kWriters * kRowsPerWriter);
    ASSERT_EQ(static_cast<int64_t>(ExportAll(*table_).ids.size()),
              kWriters * kRowsPerWriter);
    for (int writer = 0; writer < kWriters; ++writer) {
      std::vector<int64_t> ids;
      std::vector<float> wanted;
      for (int64_t i = 0; i < kRowsPerWriter; ++i) {
        ids.push_back(IdOf(writer, i));
        wanted.insert(wanted.end(), kDim, ValueOf(i));
      }
      ASSERT_EQ(LookupAll(*table_, ids), wanted);
    }
  }

  ThreadPoolExecutor pool_;
  std::unique_ptr<EmbeddingHashTable> table_;
  std::array<std::atomic<int64_t>, kWriters> written_{};
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> batches_read_{0};
};

TEST_F(GrowthTest, EveryRowIsFoundWhileTheIndexGrows) {
  Grow();
  if (HasFatalFailure()) return;
  table_->Clear();
  Grow();
}

}  // namespace
}  // namespace monolith
