// A million random calls, good and bad ones, on a table and on a plain map.
//
// The values are small whole numbers and the steps of the optimizer halves, so
// that float arithmetic is exact and every comparison is for equality.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

constexpr int kCalls = 1'000'000;
constexpr int kTables = 10;
constexpr int kDim = 3;  // of two segments
constexpr uint32_t kDay = 86400;
constexpr uint32_t kExpireDays = 1;
// Values beyond would no longer be exact.
constexpr float kLargest = 1 << 20;

// Sanitizers slow a call down by the memory it touches.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kLargestBatch = 24;
#else
constexpr size_t kLargestBatch = 200;
#endif

struct Row {
  std::vector<float> embedding;
  uint32_t update_time = 0;
};

TableConfig Config() {
  TableConfig config;
  config.name = "fuzzed";
  config.expire_time_days = kExpireDays;
  for (int dim : {1, 2}) {
    config.segments.push_back(
        TestSegment(dim, {"sgd", {{"learning_rate", 0.5}}}));
    config.segments.back().initializer = {"constants",
                                          {{"constant", double(dim)}}};
  }
  return config;
}

class Fuzzer {
 public:
  Fuzzer(uint64_t seed, Executor& executor)
      : random_(seed), executor_(executor), table_(MakeTable(Config())) {}

  void Call() {
    DrawBatch();
    const uint64_t draw = Draw(1000);
    if (draw < 200) return Lookup();
    if (draw < 350) return Assign();
    if (draw < 450) return AssignAdd();
    if (draw < 650) return ApplyGradients();
    if (draw < 700) return Import();
    if (draw < 800) return Erase();
    if (draw < 850) return Evict();
    if (draw < 900) return Export();
    if (draw < 999) return Bad();
    return Clear();
  }

  // All of the table is all of the map.
  void Compare() {
    const EmbeddingHashTable::RowBatch rows = ExportAll(*table_);
    ASSERT_EQ(rows.ids.size(), rows_.size());
    ExpectRows(rows);
  }

 private:
  uint64_t Draw(uint64_t n) { return random_() % n; }

  float DrawValue() { return static_cast<float>(Draw(17)) - 8; }

  // Mostly few ids again and again, the extreme ones too; now and then many.
  int64_t DrawId() {
    switch (Draw(40)) {
      case 0:
        return std::numeric_limits<int64_t>::min();
      case 1:
        return std::numeric_limits<int64_t>::max();
      case 2:
        return static_cast<int64_t>(random_());
      default:
        return static_cast<int64_t>(Draw(300)) - 100;
    }
  }

  void DrawBatch() {
    const size_t n = Draw(100) ? Draw(6) : Draw(kLargestBatch);
    ids_.resize(n);
    for (int64_t& id : ids_) id = DrawId();
    values_.resize(n * kDim);
    for (float& value : values_) value = DrawValue();
    now_ += static_cast<uint32_t>(Draw(3));
  }

  static std::vector<float> Initial() { return {1, 2, 2}; }

  Row& Touch(int64_t id) {
    Row& row = rows_.try_emplace(id, Row{Initial(), 0}).first->second;
    row.update_time = now_;
    return row;
  }

  // Adds `factor` times the batch to the map's rows.
  void AddBatch(float factor) {
    for (size_t i = 0; i < ids_.size(); ++i) {
      Row& row = Touch(ids_[i]);
      for (int j = 0; j < kDim; ++j) {
        float& value = row.embedding[j];
        value += factor * values_[i * kDim + j];
        ASSERT_LT(std::abs(value), kLargest);
      }
    }
  }

  void Lookup() {
    const bool zero = Draw(2);
    std::vector<float> got(values_.size(), 99);
    ASSERT_TRUE(table_
                    ->Lookup(ids_,
                             zero
                                 ? EmbeddingHashTable::MissingId::kZero
                                 : EmbeddingHashTable::MissingId::kInitialValue,
                             absl::MakeSpan(got), executor_)
                    .ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      const auto it = rows_.find(ids_[i]);
      const std::vector<float> wanted = it != rows_.end() ? it->second.embedding
                                        : zero ? std::vector<float>(kDim)
                                               : Initial();
      ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), &got[i * kDim]))
          << "id " << ids_[i];
    }
  }

  void Assign() {
    ASSERT_TRUE(table_->Assign(ids_, values_, now_, executor_).ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      std::copy_n(&values_[i * kDim], kDim, Touch(ids_[i]).embedding.begin());
    }
  }

  void AssignAdd() {
    ASSERT_TRUE(table_->AssignAdd(ids_, values_, now_, executor_).ok());
    AddBatch(1);
  }

  void ApplyGradients() {
    EmbeddingHashTable::UpdateOptions options;
    options.update_time = now_;
    const std::vector<float> rates(2, 0.25f);
    const bool own_rates = Draw(2);
    if (own_rates) options.learning_rates = rates;
    if (Draw(2)) {
      std::sort(ids_.begin(), ids_.end());
      ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
      values_.resize(ids_.size() * kDim);
      options.ids_are_unique = true;
    }
    ASSERT_TRUE(table_->ApplyGradients(ids_, values_, options, executor_).ok());
    AddBatch(own_rates ? -0.25f : -0.5f);
  }

  void Import() {
    const std::vector<uint32_t> times(ids_.size(), now_);
    ASSERT_TRUE(table_->ImportRows(ids_, values_, {}, times, executor_).ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      std::copy_n(&values_[i * kDim], kDim, Touch(ids_[i]).embedding.begin());
    }
  }

  void Erase() {
    int64_t wanted = 0;
    for (int64_t id : ids_) wanted += static_cast<int64_t>(rows_.erase(id));
    const auto erased = table_->Erase(ids_, executor_);
    ASSERT_TRUE(erased.ok());
    ASSERT_EQ(*erased, wanted);
  }

  void Evict() {
    const uint32_t kept = static_cast<uint32_t>(Draw(2000));
    const uint32_t oldest = now_ > kept ? now_ - kept : 0;
    int64_t wanted = 0;
    for (auto it = rows_.begin(); it != rows_.end();) {
      const bool old = it->second.update_time < oldest;
      wanted += old;
      it = old ? rows_.erase(it) : std::next(it);
    }
    ASSERT_EQ(table_->Evict(oldest + kExpireDays * kDay, executor_), wanted);
  }

  void Export() {
    EmbeddingHashTable::RowBatch rows;
    const int stripe =
        static_cast<int>(Draw(static_cast<uint64_t>(table_->num_stripes())));
    ASSERT_TRUE(table_->ExportStripe(stripe, &rows).ok());
    ExpectRows(rows);
    ASSERT_EQ(table_->size(), static_cast<int64_t>(rows_.size()));
    ASSERT_GE(table_->memory_bytes(), 0);
  }

  void Clear() {
    table_->Clear();
    rows_.clear();
  }

  // A call that must be refused and change nothing, which later calls notice.
  void Bad() {
    const size_t n = ids_.size();
    EmbeddingHashTable::UpdateOptions options;
    options.update_time = now_;
    std::vector<float> few(values_);
    few.resize(Draw(2) && n > 0 ? Draw(n * kDim) : n * kDim + 1 + Draw(4));
    std::vector<float> not_finite(values_);
    if (n > 0) not_finite[Draw(n * kDim)] = NotFinite();
    std::vector<float> out(few);
    EmbeddingHashTable::RowBatch rows;
    absl::Status status;
    switch (Draw(n > 0 ? 12 : 9)) {
      case 0:
        status = table_->Lookup(ids_, EmbeddingHashTable::MissingId::kZero,
                                absl::MakeSpan(out), executor_);
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
        bad_rates_.assign(Draw(2) ? 1 : 3, 0.5f);
        options.learning_rates = bad_rates_;
        status = table_->ApplyGradients(ids_, values_, options, executor_);
        break;
      case 5:
        bad_rates_.assign(2, 0.5f);
        bad_rates_[Draw(2)] = Draw(2) ? -0.5f : NotFinite();
        options.learning_rates = bad_rates_;
        status = table_->ApplyGradients(ids_, values_, options, executor_);
        break;
      case 6:
        status = table_->ExportStripe(
            Draw(2) ? -1 - static_cast<int>(Draw(9)) : table_->num_stripes(),
            &rows);
        ASSERT_TRUE(rows.ids.empty());
        break;
      case 7:
        status = table_->ImportRows(ids_, few, {},
                                    std::vector<uint32_t>(n, now_), executor_);
        break;
      case 8:
        status = table_->ImportRows(
            ids_, values_, {}, std::vector<uint32_t>(n + 1, now_), executor_);
        break;
      case 9:
        status = table_->Assign(ids_, not_finite, now_, executor_);
        break;
      case 10:
        status = table_->AssignAdd(ids_, not_finite, now_, executor_);
        break;
      case 11:
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

  // Rows of the table are rows of the map.
  void ExpectRows(const EmbeddingHashTable::RowBatch& rows) {
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      const auto it = rows_.find(rows.ids[i]);
      ASSERT_NE(it, rows_.end()) << "id " << rows.ids[i];
      ASSERT_EQ(rows.update_times[i], it->second.update_time);
      ASSERT_TRUE(std::equal(it->second.embedding.begin(),
                             it->second.embedding.end(),
                             &rows.embeddings[i * kDim]))
          << "id " << rows.ids[i];
    }
  }

  std::mt19937_64 random_;
  Executor& executor_;
  std::unique_ptr<EmbeddingHashTable> table_;
  std::unordered_map<int64_t, Row> rows_;
  std::vector<int64_t> ids_;
  std::vector<float> values_;
  std::vector<float> bad_rates_;
  uint32_t now_ = 1'000'000;
};

TEST(EmbeddingHashTableFuzzTest, AMillionCallsAgreeWithAPlainMap) {
  ThreadPoolExecutor pool(2);
  for (uint64_t seed = 0; seed < kTables; ++seed) {
    Fuzzer fuzzer(
        seed, seed % 2 ? static_cast<Executor&>(pool) : InlineExecutor::Get());
    for (int call = 0; call < kCalls / kTables; ++call) {
      fuzzer.Call();
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", call " << call;
    }
    fuzzer.Compare();
    if (HasFatalFailure()) FAIL() << "seed " << seed << ", at the end";
  }
}

// Texts of configs, cut and changed at random: an error or a table, no crash.
TEST(EmbeddingHashTableFuzzTest, NoTextOfAConfigCrashes) {
  std::mt19937_64 random(1);
  const std::string good = ToJson(Config());
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
