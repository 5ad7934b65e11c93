// The tables of one server, as a TensorFlow resource.
//
// Thread safety: thread-safe. Saves and restores take turns.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/framework/resource_base.h"

namespace monolith {

class TableSet : public tensorflow::ResourceBase {
 public:
  // The caller owns the one reference of the result. Fails if a table cannot
  // be made from its config.
  static absl::StatusOr<TableSet*> Create(
      const std::vector<TableConfig>& configs);

  int num_tables() const { return static_cast<int>(tables_.size()); }
  // REQUIRES: 0 <= t < num_tables().
  EmbeddingHashTable& table(int t) const { return *tables_[t]; }
  // (num_tables) floats per row.
  absl::Span<const int64_t> dims() const { return dims_; }
  std::vector<TableConfig> configs() const;

  // Workers' requests so far, for those who leave the processors to them.
  const std::atomic<uint64_t>& num_requests() const { return num_requests_; }
  void NoteRequest() const {
    num_requests_.fetch_add(1, std::memory_order_relaxed);
  }

  // Has saves that are running rest no more, whoever trains beside them.
  void HurrySaves() { num_hurries_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t num_hurries() const {
    return num_hurries_.load(std::memory_order_relaxed);
  }

  // Of those who save, restore and clear the tables.
  TableTurns& turns() { return turns_; }
  // Removes all rows. In a turn.
  void Clear();

  std::string DebugString() const override;
  int64_t MemoryUsed() const override;

 private:
  TableSet() = default;

  std::vector<std::unique_ptr<EmbeddingHashTable>> tables_;
  std::vector<int64_t> dims_;
  TableTurns turns_;
  mutable std::atomic<uint64_t> num_requests_{0};
  std::atomic<uint64_t> num_hurries_{0};
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_
