#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_ORACLE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_ORACLE_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// What EmbeddingHashTable promises, in the plainest way, for tests: a map from
// ids to rows, worked on one id after the other. It has the table's results to
// the last bit. Initializers and optimizers are the table's own, which have
// tests of their own; everything between them and the caller is not.
//
// Arguments are expected to be valid.
//
// Thread safety: none.
//
// Example:
//   TableOracle oracle(table->config());
//   table->Assign(ids, values, now);
//   oracle.Assign(ids, values, now);
//   EXPECT_EQ(table->size(), oracle.size());
class TableOracle {
 public:
  struct Row {
    std::vector<float> floats;  // (dim + state_dim), the embedding first
    uint32_t update_time = 0;
  };

  explicit TableOracle(const TableConfig& config);

  size_t dim() const { return static_cast<size_t>(schema_->dim()); }
  size_t state_dim() const { return static_cast<size_t>(schema_->state_dim()); }
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

  // Null if the id has no row.
  const Row* Find(int64_t id) const;

  // A row that somebody might import: trained by these gradients, each (dim).
  std::vector<float> TrainedRow(
      int64_t id, const std::vector<std::vector<float>>& gradients) const;

  // Each as the table's method of that name.
  std::vector<float> Lookup(int64_t id,
                            EmbeddingHashTable::MissingId missing) const;
  void Assign(absl::Span<const int64_t> ids, absl::Span<const float> values,
              uint32_t update_time);
  void AssignAdd(absl::Span<const int64_t> ids, absl::Span<const float> values,
                 uint32_t update_time);
  void ApplyGradients(absl::Span<const int64_t> ids,
                      absl::Span<const float> gradients,
                      const EmbeddingHashTable::UpdateOptions& options);
  void ImportRows(absl::Span<const int64_t> ids,
                  absl::Span<const float> embeddings,
                  absl::Span<const float> states,
                  absl::Span<const uint32_t> update_times);
  int64_t Erase(absl::Span<const int64_t> ids);
  int64_t Evict(uint32_t now_seconds);
  void Clear();

 private:
  std::vector<float> InitialRow(int64_t id) const;
  // Inserts it if need be.
  Row& Touch(int64_t id, uint32_t update_time);
  // Counts occurrences of an id without a row; true if it gets one now.
  bool Admit(int64_t id, int64_t occurrences);

  const TableConfig config_;
  const std::unique_ptr<RowSchema> schema_;
  std::unordered_map<int64_t, Row> rows_;
  // Of the ids on trial. Writing to an id does not end its trial.
  std::unordered_map<int64_t, int64_t> occurrences_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TABLE_ORACLE_H_
