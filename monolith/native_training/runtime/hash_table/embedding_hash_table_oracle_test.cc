// Random operations on a table and on a plain map, side by side.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

struct OracleRow {
  std::vector<double> embedding;
  std::vector<double> accumulator;  // of Adagrad segments, else unused
  uint32_t update_time = 0;
};

// The table's promises, in the plainest way. Initial values are the table's
// own, read from a second one that stays empty.
class Oracle {
 public:
  explicit Oracle(const TableConfig& config)
      : config_(config), empty_(MakeTable(config)) {}

  std::unordered_map<int64_t, OracleRow>& rows() { return rows_; }

  std::vector<double> Lookup(int64_t id, bool zero_missing) const {
    auto it = rows_.find(id);
    if (it != rows_.end()) return it->second.embedding;
    if (zero_missing) return std::vector<double>(empty_->dim(), 0);
    const std::vector<float> initial = LookupAll(*empty_, {id});
    return std::vector<double>(initial.begin(), initial.end());
  }

  OracleRow& Row(int64_t id, uint32_t update_time) {
    auto it = rows_.find(id);
    if (it == rows_.end()) {
      OracleRow row{Lookup(id, false),
                    std::vector<double>(empty_->dim(), double{0.1f}), 0};
      it = rows_.emplace(id, std::move(row)).first;
    }
    it->second.update_time = update_time;
    return it->second;
  }

  void ApplyGradients(const std::vector<int64_t>& ids,
                      const std::vector<float>& gradients,
                      const std::vector<float>& rates, uint32_t update_time) {
    const size_t dim = static_cast<size_t>(empty_->dim());
    std::unordered_map<int64_t, std::vector<double>> sums;
    for (size_t i = 0; i < ids.size(); ++i) {
      std::vector<double>& sum = sums[ids[i]];
      sum.resize(dim);
      for (size_t j = 0; j < dim; ++j) sum[j] += gradients[i * dim + j];
    }
    for (const auto& [id, gradient] : sums) {
      OracleRow& row = Row(id, update_time);
      size_t j = 0;
      for (size_t s = 0; s < config_.segments.size(); ++s) {
        const bool adagrad = config_.segments[s].optimizer.type == "adagrad";
        for (int k = 0; k < config_.segments[s].dim; ++k, ++j) {
          double step = gradient[j];
          if (adagrad) {
            row.accumulator[j] += gradient[j] * gradient[j];
            step /= std::sqrt(row.accumulator[j]);
          }
          row.embedding[j] -= rates[s] * step;
        }
      }
    }
  }

 private:
  const TableConfig config_;
  std::unique_ptr<EmbeddingHashTable> empty_;
  std::unordered_map<int64_t, OracleRow> rows_;
};

void ExpectNear(double got, double wanted) {
  ASSERT_NEAR(got, wanted, 1e-5 * (1 + std::abs(wanted)));
}

// One random run: about `num_ids` ids in batches of any operation.
class RandomRun {
 public:
  RandomRun(TableConfig config, uint64_t seed, Executor& executor)
      : table_(MakeTable(config)),
        oracle_(config),
        random_(seed),
        executor_(executor),
        dim_(static_cast<size_t>(table_->dim())),
        rates_(config.segments.size(), 0.1f) {}

  void Run(int64_t num_ids) {
    for (int64_t done = 0; done < num_ids;) {
      ++now_;
      RandomIds();
      done += static_cast<int64_t>(ids_.size());
      switch (random_() % 16) {
        case 0:
        case 1:
        case 2:
        case 3:
          Lookup();
          break;
        case 4:
        case 5:
        case 6:
          Assign();
          break;
        case 7:
        case 8:
          AssignAdd();
          break;
        case 9:
        case 10:
        case 11:
        case 12:
          ApplyGradients();
          break;
        case 13:
        case 14:
          Erase();
          break;
        case 15:
          EvictOrReject();
          break;
      }
      ASSERT_FALSE(testing::Test::HasFatalFailure());
      ASSERT_EQ(table_->size(), static_cast<int64_t>(oracle_.rows().size()));
    }
    CompareExport();
  }

 private:
  // Mostly few ids again and again, sometimes a large batch or extreme ids.
  void RandomIds() {
    const size_t n = random_() % 20 == 0 ? random_() % 5000 : random_() % 100;
    ids_.resize(n);
    for (int64_t& id : ids_) {
      id = static_cast<int64_t>(random_() % 4000) - 1000;
      if (random_() % 50 == 0)
        id = std::numeric_limits<int64_t>::max() - std::abs(id % 3);
      if (random_() % 50 == 0) id = std::numeric_limits<int64_t>::min();
    }
    values_.resize(n * dim_);
    std::normal_distribution<float> normal;
    for (float& value : values_) value = normal(random_);
  }

  void Lookup() {
    const bool zero = random_() % 2;
    std::vector<float> got(values_.size());
    ASSERT_TRUE(table_
                    ->Lookup(ids_,
                             zero
                                 ? EmbeddingHashTable::MissingId::kZero
                                 : EmbeddingHashTable::MissingId::kInitialValue,
                             absl::MakeSpan(got), executor_)
                    .ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      const std::vector<double> wanted = oracle_.Lookup(ids_[i], zero);
      for (size_t j = 0; j < dim_; ++j) {
        ExpectNear(got[i * dim_ + j], wanted[j]);
      }
    }
  }

  void Assign() {
    ASSERT_TRUE(table_->Assign(ids_, values_, now_, executor_).ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      auto& row = oracle_.Row(ids_[i], now_);
      for (size_t j = 0; j < dim_; ++j)
        row.embedding[j] = values_[i * dim_ + j];
    }
  }

  void AssignAdd() {
    ASSERT_TRUE(table_->AssignAdd(ids_, values_, now_, executor_).ok());
    for (size_t i = 0; i < ids_.size(); ++i) {
      auto& row = oracle_.Row(ids_[i], now_);
      for (size_t j = 0; j < dim_; ++j) {
        row.embedding[j] += values_[i * dim_ + j];
      }
    }
  }

  void ApplyGradients() {
    EmbeddingHashTable::UpdateOptions options;
    options.learning_rates = rates_;
    options.update_time = now_;
    if (random_() % 2) {
      std::sort(ids_.begin(), ids_.end());
      ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
      values_.resize(ids_.size() * dim_);
      options.ids_are_unique = true;
    }
    ASSERT_TRUE(table_->ApplyGradients(ids_, values_, options, executor_).ok());
    oracle_.ApplyGradients(ids_, values_, rates_, now_);
  }

  void Erase() {
    int64_t wanted = 0;
    for (int64_t id : ids_) {
      wanted += static_cast<int64_t>(oracle_.rows().erase(id));
    }
    auto erased = table_->Erase(ids_, executor_);
    ASSERT_TRUE(erased.ok());
    ASSERT_EQ(*erased, wanted);
  }

  void EvictOrReject() {
    if (!ids_.empty() && random_() % 2) {
      values_[random_() % values_.size()] = std::nanf("");
      ASSERT_FALSE(table_->ApplyGradients(ids_, values_, {}, executor_).ok());
      return;
    }
    const uint32_t kept = static_cast<uint32_t>(random_() % 300);
    const uint32_t expire =
        static_cast<uint32_t>(table_->config().expire_time_days * 86400);
    const uint32_t oldest = now_ > kept ? now_ - kept : 0;
    int64_t wanted = 0;
    for (auto it = oracle_.rows().begin(); it != oracle_.rows().end();) {
      const bool old = it->second.update_time < oldest;
      wanted += old;
      it = old ? oracle_.rows().erase(it) : std::next(it);
    }
    ASSERT_EQ(table_->Evict(oldest + expire, executor_), wanted);
  }

  void CompareExport() {
    const EmbeddingHashTable::RowBatch rows = ExportAll(*table_);
    ASSERT_EQ(rows.ids.size(), oracle_.rows().size());
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      const OracleRow& row = oracle_.rows().at(rows.ids[i]);
      ASSERT_EQ(rows.update_times[i], row.update_time);
      for (size_t j = 0; j < dim_; ++j) {
        ExpectNear(rows.embeddings[i * dim_ + j], row.embedding[j]);
      }
    }
  }

  std::unique_ptr<EmbeddingHashTable> table_;
  Oracle oracle_;
  std::mt19937_64 random_;
  Executor& executor_;
  const size_t dim_;
  const std::vector<float> rates_;
  std::vector<int64_t> ids_;
  std::vector<float> values_;
  uint32_t now_ = 0;
};

TableConfig RandomConfig(uint64_t seed) {
  std::mt19937_64 random(seed);
  TableConfig config;
  config.name = "test";
  config.expire_time_days = 10;
  const uint64_t segments = 1 + random() % 3;
  for (uint64_t i = 0; i < segments; ++i) {
    SegmentConfig segment = TestSegment(static_cast<int>(1 + random() % 20),
                                        {random() % 2 ? "adagrad" : "sgd", {}});
    segment.name += static_cast<char>('a' + i);
    if (random() % 2) segment.initializer = {"random_normal", {}};
    config.segments.push_back(segment);
  }
  return config;
}

TEST(EmbeddingHashTableOracleTest, AgreesWithAPlainMap) {
  ThreadPoolExecutor pool(2);
  for (uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun run(
        RandomConfig(seed), seed,
        seed % 2 ? static_cast<Executor&>(pool) : InlineExecutor::Get());
    run.Run(30000);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace monolith
