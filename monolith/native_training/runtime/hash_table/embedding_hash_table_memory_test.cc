// How much memory a table takes, and that it uses it again.

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"
#include "monolith/native_training/runtime/sanitizers/sanitizers.h"

namespace monolith {
namespace {

const OptimizerConfig kSgd = {"sgd", {}};

int64_t ResidentBytes() {
  malloc_trim(0);  // What the test itself has freed.
  long pages = 0, resident = 0;
  FILE* const file = std::fopen("/proc/self/statm", "r");
  if (!file || std::fscanf(file, "%ld %ld", &pages, &resident) != 2) {
    std::abort();
  }
  std::fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

// Assigns n rows, numbers [first, first + n) of an endless series of ids.
absl::Status AssignMany(EmbeddingHashTable& table, int64_t first, int64_t n,
                        uint32_t update_time) {
  constexpr int64_t kBatch = 16384;
  std::vector<int64_t> ids;
  const std::vector<float> values(kBatch * table.dim(), 1);
  for (int64_t begin = first; begin < first + n; begin += kBatch) {
    ids.clear();
    for (int64_t i = begin; i < std::min(begin + kBatch, first + n); ++i) {
      ids.push_back(static_cast<int64_t>(MixBits(static_cast<uint64_t>(i))));
    }
    absl::Status status =
        table.Assign(ids,
                     absl::MakeConstSpan(values).subspan(
                         0, ids.size() * static_cast<size_t>(table.dim())),
                     update_time);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// 4 bytes of update time, 16 to 20 of index, and rows taken in advance, which
// weigh less the more rows there are.
TEST(EmbeddingHashTableMemoryTest, RowsTakeLittleMoreThanTheirPayload) {
  constexpr double kLayerBytes = 4 << 20;  // see IndexMemory
  constexpr double kHugePages = 4 << 20;   // begun, of rows and of times
  for (const char* optimizer : {"sgd", "adagrad"}) {
    auto table = MakeTable(OneSegment(32, {optimizer, {}}));
    const double payload =
        8 + 4.0 * static_cast<double>(table->dim() + table->state_dim());
    for (int64_t n = 50000; n <= 400000; n += 50000) {
      ASSERT_TRUE(AssignMany(*table, n - 50000, 50000, 0).ok());
      EXPECT_LE(
          static_cast<double>(table->memory_bytes()),
          static_cast<double>(n) * (payload + 28) + kLayerBytes + kHugePages);
    }
  }
}

// Grows tables through many sizes, as pages fill up at some of them and are new
// at others.
void ExpectResidentMemoryIsAccountedFor(const char* optimizer) {
  constexpr double kOther = 256 << 10;  // of the test itself
  for (const int dim : {8, 32}) {
    const int64_t before = ResidentBytes();
    auto table = MakeTable(OneSegment(dim, {optimizer, {}}));
    double resident = 0;
    int64_t rows = 0;
    for (int64_t wanted = 20000; wanted <= 2500000; wanted += wanted / 4) {
      ASSERT_TRUE(AssignMany(*table, rows, wanted - rows, 0).ok());
      rows = wanted;
      resident = static_cast<double>(ResidentBytes() - before);
      EXPECT_NEAR(static_cast<double>(table->memory_bytes()), resident,
                  0.05 * resident + kOther)
          << optimizer << " of dim " << dim << ", " << rows << " rows";
    }
    table.reset();
    EXPECT_LT(ResidentBytes() - before, resident * 0.1);
  }
}

TEST(EmbeddingHashTableMemoryTest, AccountsForResidentMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes memory too";
  ExpectResidentMemoryIsAccountedFor("sgd");
  ExpectResidentMemoryIsAccountedFor("adagrad");
}

TEST(EmbeddingHashTableMemoryTest, AccountsForResidentMemoryOfSmallPages) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes memory too";
  ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
  ExpectResidentMemoryIsAccountedFor("sgd");
  ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
}

TEST(EmbeddingHashTableMemoryTest, AccountsForIdsOnTrial) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes memory too";
  const int64_t before = ResidentBytes();
  TableConfig config = OneSegment(4, kSgd);
  config.occurrence_threshold = 3;
  config.admission_capacity = 8000000;
  auto table = MakeTable(config);
  const std::vector<float> gradients(4 * 16384);
  std::vector<int64_t> ids(16384);
  for (int64_t next = 0; next < 3000000;) {
    for (int64_t& id : ids) id = next++;
    ASSERT_TRUE(table->ApplyGradients(ids, gradients, {}).ok());
    EXPECT_LE(table->memory_bytes(), 8 * 8000000 + (256 << 10));
    EXPECT_NEAR(static_cast<double>(table->memory_bytes()) /
                    static_cast<double>(ResidentBytes() - before),
                1, 0.05);
  }
  EXPECT_EQ(table->size(), 0);
}

TEST(EmbeddingHashTableMemoryTest, EvictedRowsAreUsedAgain) {
  constexpr int64_t kRows = kSanitized ? 50000 : 1000000;
  TableConfig config = OneSegment(32, kSgd);
  config.expire_time_days = 0.5;
  const int64_t before = ResidentBytes();
  auto table = MakeTable(config);
  double first_bytes = 0;
  double first_resident = 0;
  for (int generation = 0; generation < 10; ++generation) {
    const uint32_t now = 50000u * static_cast<uint32_t>(generation + 1);
    EXPECT_EQ(table->Evict(now), generation == 0 ? 0 : kRows);
    ASSERT_TRUE(AssignMany(*table, generation * kRows, kRows, now).ok());
    EXPECT_EQ(table->size(), kRows);
    const auto bytes = static_cast<double>(table->memory_bytes());
    const auto resident = static_cast<double>(ResidentBytes() - before);
    if (generation == 0) first_bytes = bytes;
    if (generation == 0) first_resident = resident;
    EXPECT_LE(bytes, first_bytes * 1.2);
    if (!kSanitized) {
      EXPECT_LE(resident, first_resident * 1.2);
    }
  }
}

// Eviction lets others in between: who trains beside it loses nothing.
TEST(EmbeddingHashTableMemoryTest, EvictsBesideTraining) {
  constexpr int64_t kOld = 300000;
  constexpr int64_t kNew = 60000;
  TableConfig config = OneSegment(4, kSgd);
  config.expire_time_days = 1;
  auto table = MakeTable(config);
  ASSERT_TRUE(AssignMany(*table, 0, kOld, 0).ok());
  int64_t evicted = 0;
  std::thread evicting([&] {
    for (int i = 0; i < 5; ++i) evicted += table->Evict(100000);
  });
  EXPECT_TRUE(AssignMany(*table, kOld, kNew, 100000).ok());
  evicting.join();
  evicted += table->Evict(100000);
  EXPECT_EQ(evicted, kOld);
  EXPECT_EQ(table->size(), kNew);
}

TEST(EmbeddingHashTableMemoryTest, ErasingAndInsertingTheSameIdsIsStable) {
  auto table = MakeTable(OneSegment(8, kSgd));
  std::vector<int64_t> ids(5000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  const std::vector<float> values(8 * ids.size());
  ASSERT_TRUE(table->Assign(ids, values, 0).ok());
  const int64_t bytes = table->memory_bytes();
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(*table->Erase(ids), 5000);
    ASSERT_TRUE(table->Assign(ids, values, 0).ok());
    EXPECT_EQ(table->memory_bytes(), bytes);
  }
}

TEST(EmbeddingHashTableMemoryTest, SmallTablesAreCheap) {
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<EmbeddingHashTable>> tables;
  for (int i = 0; i < 500; ++i) {
    tables.push_back(MakeTable(OneSegment(32, {"adagrad", {}})));
    EXPECT_LT(tables.back()->memory_bytes(), 32 << 10);
    ASSERT_TRUE(AssignMany(*tables.back(), 0, 10, 0).ok());
    EXPECT_LT(tables.back()->memory_bytes(), 96 << 10);
  }
  if (!kSanitized) {
    EXPECT_LT((ResidentBytes() - before) / 500, 128 << 10);
  }
}

// Fills a table in a process that may only have 1 GB of address space.
void FillUntilExhausted() {
  rlimit limit;
  limit.rlim_cur = limit.rlim_max = rlim_t{1} << 30;
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::exit(1);
  auto table = MakeTable(OneSegment(64, {"adagrad", {}}));
  int64_t rows = 0;
  absl::Status status;
  for (; status.ok() && rows < 10000000; rows += 16384) {
    status = AssignMany(*table, rows, 16384, 0);
  }
  if (status.code() != absl::StatusCode::kResourceExhausted) std::exit(2);
  // What is there stays usable.
  const std::vector<float> value =
      LookupAll(*table, {static_cast<int64_t>(MixBits(3))});
  if (value[0] != 1 || table->size() < rows / 2) std::exit(3);
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(0);
}

TEST(EmbeddingHashTableMemoryTest, RunningOutOfMemoryIsAnError) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs address space";
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(FillUntilExhausted(), testing::ExitedWithCode(0),
              "RESOURCE_EXHAUSTED: .*no .* bytes of memory left");
}

}  // namespace
}  // namespace monolith
