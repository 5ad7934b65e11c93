// Random calls, good and bad ones, on a table and on its oracle: a million of
// small batches, and batches of thousands of ids, which several threads share.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"
#include "monolith/native_training/runtime/hash_table/table_oracle.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"
#include "monolith/native_training/runtime/sanitizers/sanitizers.h"

namespace monolith {
namespace {

using MissingId = EmbeddingHashTable::MissingId;

constexpr uint32_t kDay = 86400;
constexpr uint32_t kExpireDays = 1;

// What the batches of a run are like.
struct Batches {
  size_t small;         // most ids of most batches
  size_t large;         // most ids of the others
  uint64_t large_each;  // every so many batches is a large one
  int64_t num_ids;      // different ids, the first ones much more often
};

class Fuzzer {
 public:
  Fuzzer(const TableConfig& config, const Batches& batches, uint64_t seed,
         Executor& executor)
      : batches_(batches),
        random_(seed),
        executor_(executor),
        table_(MakeTable(config)),
        oracle_(config),
        dim_(oracle_.dim()) {}

  // Returns the number of ids.
  size_t Call() {
    DrawBatch();
    const size_t n = ids_.size();
    CallWithBatch();
    EXPECT_EQ(table_->size(), oracle_.size());
    return n;
  }

  // All of the table is all of the oracle.
  void Compare() {
    const EmbeddingHashTable::RowBatch rows = ExportAll(*table_);
    ASSERT_EQ(static_cast<int64_t>(rows.ids.size()), oracle_.size());
    ExpectRows(rows);
  }

 private:
  void CallWithBatch() {
    const uint64_t draw = Draw(1000);
    if (draw < 200) return Lookup();
    if (draw < 300) return Assign();
    if (draw < 400) return AssignAdd();
    if (draw < 650) return ApplyGradients();
    if (draw < 700) return Import();
    if (draw < 800) return Erase();
    if (draw < 850) return Evict();
    if (draw < 900) return Export();
    if (draw < 999) return Bad();
    table_->Clear();
    oracle_.Clear();
  }

  uint64_t Draw(uint64_t n) { return random_() % n; }

  // Zero now and then.
  float DrawValue() { return (static_cast<float>(Draw(65)) - 32) / 7; }

  int64_t DrawId() {
    switch (Draw(200)) {
      case 0:
        return std::numeric_limits<int64_t>::min();
      case 1:
        return std::numeric_limits<int64_t>::max();
      case 2:
        return static_cast<int64_t>(random_());
      default:
        const double u = static_cast<double>(random_() >> 11) * 0x1p-53;
        return static_cast<int64_t>(u * u *
                                    static_cast<double>(batches_.num_ids)) -
               100;
    }
  }

  void DrawBatch() {
    ids_.resize(Draw(batches_.large_each) ? Draw(batches_.small + 1)
                                          : Draw(batches_.large + 1));
    for (int64_t& id : ids_) id = DrawId();
    values_.resize(ids_.size() * dim_);
    for (float& value : values_) value = DrawValue();
    now_ += static_cast<uint32_t>(Draw(3));
  }

  void Lookup() {
    const MissingId missing =
        Draw(2) ? MissingId::kZero : MissingId::kInitialValue;
    std::vector<float> got(values_.size(), 99);
    ASSERT_TRUE(
        table_->Lookup(ids_, missing, absl::MakeSpan(got), executor_).ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      const std::vector<float> wanted = oracle_.Lookup(ids_[i], missing);
      ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), &got[i * dim_]))
          << "id " << ids_[i];
    }
  }

  void Assign() {
    ASSERT_TRUE(table_->Assign(ids_, values_, now_, executor_).ok());
    oracle_.Assign(ids_, values_, now_);
  }

  void AssignAdd() {
    ASSERT_TRUE(table_->AssignAdd(ids_, values_, now_, executor_).ok());
    oracle_.AssignAdd(ids_, values_, now_);
  }

  void ApplyGradients() {
    EmbeddingHashTable::UpdateOptions options;
    options.update_time = now_;
    options.global_step = static_cast<int64_t>(Draw(1000));
    const std::vector<float> rates(table_->num_segments(), 0.25f);
    if (Draw(2)) options.learning_rates = rates;
    if (Draw(2)) {
      std::sort(ids_.begin(), ids_.end());
      ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
      values_.resize(ids_.size() * dim_);
      options.ids_are_unique = true;
    }
    std::vector<uint16_t> occurrences(ids_.size());
    for (uint16_t& n : occurrences) n = static_cast<uint16_t>(Draw(4));
    if (Draw(2)) options.occurrences = occurrences;
    ASSERT_TRUE(table_->ApplyGradients(ids_, values_, options, executor_).ok());
    oracle_.ApplyGradients(ids_, values_, options);
  }

  // Rows that were trained a little, as of a table that was saved.
  void Import() {
    std::vector<float> states;
    std::vector<uint32_t> times;
    for (size_t i = 0; i < ids_.size(); ++i) {
      std::vector<std::vector<float>> gradients(Draw(3));
      for (std::vector<float>& gradient : gradients) {
        gradient.resize(dim_);
        for (float& g : gradient) g = DrawValue();
      }
      const std::vector<float> row = oracle_.TrainedRow(ids_[i], gradients);
      std::copy_n(row.begin(), dim_, values_.begin() + i * dim_);
      states.insert(states.end(), row.begin() + dim_, row.end());
      times.push_back(now_ - static_cast<uint32_t>(Draw(1000)));
    }
    ASSERT_TRUE(
        table_->ImportRows(ids_, values_, states, times, executor_).ok());
    oracle_.ImportRows(ids_, values_, states, times);
  }

  void Erase() {
    const auto erased = table_->Erase(ids_, executor_);
    ASSERT_TRUE(erased.ok());
    ASSERT_EQ(*erased, oracle_.Erase(ids_));
  }

  void Evict() {
    const uint32_t now =
        now_ - static_cast<uint32_t>(Draw(2000)) + kExpireDays * kDay;
    ASSERT_EQ(table_->Evict(now, executor_), oracle_.Evict(now));
  }

  void Export() {
    EmbeddingHashTable::RowBatch rows;
    const int stripe =
        static_cast<int>(Draw(static_cast<uint64_t>(table_->num_stripes())));
    ASSERT_TRUE(table_->ExportStripe(stripe, &rows).ok());
    ExpectRows(rows);
    ASSERT_GE(table_->memory_bytes(), 0);
  }

  // A call that must be refused and change nothing, which later calls notice.
  void Bad() {
    const size_t n = ids_.size();
    EmbeddingHashTable::UpdateOptions options;
    options.update_time = now_;
    std::vector<float> few(values_);
    few.resize(Draw(2) && n > 0 ? Draw(n * dim_) : n * dim_ + 1 + Draw(4));
    std::vector<float> not_finite(values_);
    if (n > 0) not_finite[Draw(n * dim_)] = NotFinite();
    const std::vector<float> states(n * oracle_.state_dim(), 1);
    const std::vector<uint32_t> times(n, now_);
    const std::vector<uint16_t> occurrences(n + 1 + Draw(3), 1);
    std::vector<float> rates(table_->num_segments(), 0.5f);
    EmbeddingHashTable::RowBatch rows;
    absl::Status status;
    switch (Draw(n > 0 ? 14 : 11)) {
      case 0:
        status = table_->Lookup(ids_, MissingId::kZero, absl::MakeSpan(few),
                                executor_);
        break;
      case 1:
        status = table_->Assign(ids_, few, now_, executor_);
        break;
      case 2:
        status = table_->AssignAdd(ids_, few, now_, executor_);
        break;
      case 3:
        status = table_->ApplyGradients(ids_, few, options, executor_);
        break;
      case 4:
        rates.resize(rates.size() + 1 + Draw(2));
        options.learning_rates = rates;
        status = table_->ApplyGradients(ids_, values_, options, executor_);
        break;
      case 5:
        rates[Draw(rates.size())] = Draw(2) ? -0.5f : NotFinite();
        options.learning_rates = rates;
        status = table_->ApplyGradients(ids_, values_, options, executor_);
        break;
      case 6:
        options.occurrences = occurrences;
        status = table_->ApplyGradients(ids_, values_, options, executor_);
        break;
      case 7:
        status = table_->ExportStripe(
            Draw(2) ? -1 - static_cast<int>(Draw(9)) : table_->num_stripes(),
            &rows);
        ASSERT_TRUE(rows.ids.empty());
        break;
      case 8:
        status = table_->ImportRows(ids_, few, states, times, executor_);
        break;
      case 9:
        status = table_->ImportRows(ids_, values_, states,
                                    std::vector<uint32_t>(n + 1), executor_);
        break;
      case 10:
        status = table_->ImportRows(ids_, values_,
                                    std::vector<float>(states.size() + 1, 1),
                                    times, executor_);
        break;
      case 11:
        status = table_->Assign(ids_, not_finite, now_, executor_);
        break;
      case 12:
        status = table_->AssignAdd(ids_, not_finite, now_, executor_);
        break;
      case 13:
        status = table_->ApplyGradients(ids_, not_finite, options, executor_);
        break;
    }
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }

  float NotFinite() {
    using Limits = std::numeric_limits<float>;
    const float infinity = Draw(2) ? Limits::infinity() : -Limits::infinity();
    return Draw(2) ? Limits::quiet_NaN() : infinity;
  }

  // Rows of the table are rows of the oracle.
  void ExpectRows(const EmbeddingHashTable::RowBatch& rows) {
    const size_t state_dim = oracle_.state_dim();
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      const TableOracle::Row* const row = oracle_.Find(rows.ids[i]);
      ASSERT_NE(row, nullptr) << "id " << rows.ids[i];
      ASSERT_EQ(rows.update_times[i], row->update_time);
      ASSERT_TRUE(std::equal(row->floats.begin(), row->floats.begin() + dim_,
                             rows.embeddings.begin() + i * dim_))
          << "id " << rows.ids[i];
      ASSERT_TRUE(std::equal(row->floats.begin() + dim_, row->floats.end(),
                             rows.states.begin() + i * state_dim))
          << "id " << rows.ids[i];
    }
  }

  const Batches batches_;
  std::mt19937_64 random_;
  Executor& executor_;
  std::unique_ptr<EmbeddingHashTable> table_;
  TableOracle oracle_;
  const size_t dim_;
  std::vector<int64_t> ids_;
  std::vector<float> values_;
  uint32_t now_ = 1'000'000;
};

TableConfig SmallConfig() {
  TableConfig config;
  config.name = "fuzzed";
  config.expire_time_days = kExpireDays;
  for (int dim : {1, 2}) {
    config.segments.push_back(
        TestSegment(dim, {"sgd", {{"learning_rate", 0.5}}}));
  }
  return config;
}

// Segments of any optimizer, initial values of either kind.
TableConfig RandomConfig(uint64_t seed) {
  std::mt19937_64 random(seed);
  TableConfig config;
  config.name = "fuzzed";
  config.expire_time_days = kExpireDays;
  const uint64_t segments = 1 + random() % 3;
  const std::vector<std::string> types = OptimizerTypes();
  for (uint64_t i = 0; i < segments; ++i) {
    SegmentConfig segment = TestSegment(static_cast<int>(1 + random() % 20),
                                        {types[random() % types.size()], {}});
    segment.name += static_cast<char>('a' + i);
    if (random() % 2) segment.initializer = {"random_normal", {}};
    config.segments.push_back(segment);
  }
  return config;
}

TEST(EmbeddingHashTableFuzzTest, AMillionCallsAgreeWithTheOracle) {
  constexpr int kCalls = kSanitized ? 300'000 : 1'000'000;
  constexpr int kTables = 10;
  // Sanitizers slow a call down by the memory it touches.
  const Batches batches = {5, kSanitized ? 24 : 200, 100, 300};
  ThreadPoolExecutor pool(2);
  for (uint64_t seed = 0; seed < kTables; ++seed) {
    TableConfig config = SmallConfig();
    config.occurrence_threshold = seed % 3 == 2 ? 4 : 0;
    Fuzzer fuzzer(
        config, batches, seed,
        seed % 2 ? static_cast<Executor&>(pool) : InlineExecutor::Get());
    for (int call = 0; call < kCalls / kTables; ++call) {
      fuzzer.Call();
      if (HasFailure()) FAIL() << "seed " << seed << ", call " << call;
    }
    fuzzer.Compare();
    if (HasFailure()) FAIL() << "seed " << seed << ", at the end";
  }
}

// From some 2000 ids on a batch is shared by threads.
TEST(EmbeddingHashTableFuzzTest, BatchesOfThousandsAgreeWithTheOracle) {
  constexpr int64_t kIds = kSanitized ? 480'000 : 1'200'000;
  constexpr int kTables = 24;
  const Batches batches = {100, 9000, 6, 12000};
  ThreadPoolExecutor pool(3);
  for (uint64_t seed = 0; seed < kTables; ++seed) {
    TableConfig config = RandomConfig(seed);
    config.occurrence_threshold = static_cast<int>(seed % 4 * seed);
    Fuzzer fuzzer(config, batches, seed, pool);
    for (int64_t ids = 0, call = 0; ids < kIds / kTables; ++call) {
      ids += static_cast<int64_t>(fuzzer.Call());
      if (HasFailure()) FAIL() << "seed " << seed << ", call " << call;
    }
    fuzzer.Compare();
    if (HasFailure()) FAIL() << "seed " << seed << ", at the end";
  }
}

// Texts of configs, cut and changed at random: an error or a table, no crash.
TEST(EmbeddingHashTableFuzzTest, NoTextOfAConfigCrashes) {
  std::mt19937_64 random(1);
  const std::string good = ToJson(SmallConfig());
  int made = 0;
  for (int call = 0; call < 20'000; ++call) {
    std::string text = good;
    for (uint64_t changes = random() % 4; changes > 0; --changes) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 4);
          break;
        case 2:
          text.insert(at, text.substr(random() % text.size(), random() % 6));
          break;
      }
      if (text.empty()) break;
    }
    auto config = ParseTableConfig(text);
    if (!config.ok()) continue;
    auto table = EmbeddingHashTable::Create(*config);
    if (!table.ok()) continue;
    ++made;
    std::vector<float> values(static_cast<size_t>((*table)->dim()));
    ASSERT_TRUE((*table)->Assign({7}, values, 0).ok());
  }
  // The unchanged ones, at least.
  EXPECT_GT(made, 20'000 / 5);
}

}  // namespace
}  // namespace monolith
