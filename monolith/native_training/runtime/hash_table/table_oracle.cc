#include "monolith/native_training/runtime/hash_table/table_oracle.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace monolith {
namespace {

void Add(absl::Span<const float> values, float* sums) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (size_t i = 0; i < values.size(); ++i) {
    sums[i] = std::clamp(sums[i] + values[i], -kLargest, kLargest);
  }
}

}  // namespace

TableOracle::TableOracle(const TableConfig& config)
    : config_(config), schema_(*RowSchema::Create(config)) {}

const TableOracle::Row* TableOracle::Find(int64_t id) const {
  const auto it = rows_.find(id);
  return it == rows_.end() ? nullptr : &it->second;
}

std::vector<float> TableOracle::InitialRow(int64_t id) const {
  std::vector<float> row(schema_->row_floats());
  schema_->InitEmbedding(id, row.data());
  schema_->InitState(row.data());
  return row;
}

std::vector<float> TableOracle::TrainedRow(
    int64_t id, const std::vector<std::vector<float>>& gradients) const {
  std::vector<float> row = InitialRow(id);
  const std::vector<UpdateContext> contexts = schema_->MakeContexts({}, 0);
  for (const std::vector<float>& gradient : gradients) {
    schema_->Update(id, gradient.data(), contexts, row.data());
  }
  return row;
}

TableOracle::Row& TableOracle::Touch(int64_t id, uint32_t update_time) {
  const auto [it, inserted] = rows_.try_emplace(id);
  if (inserted) it->second.floats = InitialRow(id);
  it->second.update_time = update_time;
  return it->second;
}

bool TableOracle::Admit(int64_t id, int64_t occurrences) {
  const int64_t total = occurrences_[id] += occurrences;
  if (total < config_.occurrence_threshold) return false;
  occurrences_.erase(id);
  return true;
}

std::vector<float> TableOracle::Lookup(
    int64_t id, EmbeddingHashTable::MissingId missing) const {
  const Row* const row = Find(id);
  if (row == nullptr && (missing == EmbeddingHashTable::MissingId::kZero ||
                         config_.occurrence_threshold > 0)) {
    return std::vector<float>(dim());
  }
  std::vector<float> embedding = row ? row->floats : InitialRow(id);
  embedding.resize(dim());
  return embedding;
}

void TableOracle::Assign(absl::Span<const int64_t> ids,
                         absl::Span<const float> values, uint32_t update_time) {
  for (size_t i = 0; i < ids.size(); ++i) {
    std::copy_n(&values[i * dim()], dim(),
                Touch(ids[i], update_time).floats.begin());
  }
}

void TableOracle::AssignAdd(absl::Span<const int64_t> ids,
                            absl::Span<const float> values,
                            uint32_t update_time) {
  for (size_t i = 0; i < ids.size(); ++i) {
    Add(values.subspan(i * dim(), dim()),
        Touch(ids[i], update_time).floats.data());
  }
}

void TableOracle::ApplyGradients(
    absl::Span<const int64_t> ids, absl::Span<const float> gradients,
    const EmbeddingHashTable::UpdateOptions& options) {
  struct Sum {
    std::vector<float> gradient;
    int64_t occurrences = 0;
  };
  std::unordered_map<int64_t, Sum> sums;
  for (size_t i = 0; i < ids.size(); ++i) {
    Sum& sum = sums[ids[i]];
    sum.gradient.resize(dim());
    Add(gradients.subspan(i * dim(), dim()), sum.gradient.data());
    sum.occurrences += options.occurrences.empty() ? 1 : options.occurrences[i];
  }
  const std::vector<UpdateContext> contexts =
      schema_->MakeContexts(options.learning_rates, options.global_step);
  for (const auto& [id, sum] : sums) {
    if (Find(id) == nullptr && !Admit(id, sum.occurrences)) continue;
    schema_->Update(id, sum.gradient.data(), contexts,
                    Touch(id, options.update_time).floats.data());
  }
}

void TableOracle::ImportRows(absl::Span<const int64_t> ids,
                             absl::Span<const float> embeddings,
                             absl::Span<const float> states,
                             absl::Span<const uint32_t> update_times) {
  for (size_t i = 0; i < ids.size(); ++i) {
    std::vector<float>& row = Touch(ids[i], update_times[i]).floats;
    std::copy_n(embeddings.begin() + i * dim(), dim(), row.begin());
    std::copy_n(states.begin() + i * state_dim(), state_dim(),
                row.begin() + dim());
  }
}

int64_t TableOracle::Erase(absl::Span<const int64_t> ids) {
  const int64_t before = size();
  for (int64_t id : ids) rows_.erase(id);
  return before - size();
}

int64_t TableOracle::Evict(uint32_t now_seconds) {
  const int64_t before = size();
  const double oldest = now_seconds - config_.expire_time_days * 86400;
  for (auto it = rows_.begin(); it != rows_.end();) {
    it = it->second.update_time < oldest ? rows_.erase(it) : std::next(it);
  }
  return before - size();
}

void TableOracle::Clear() {
  rows_.clear();
  occurrences_.clear();
}

}  // namespace monolith
