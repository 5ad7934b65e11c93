// The tables of one server, as a TensorFlow resource.
//
// Thread safety: thread-safe, but that nobody else should save what is
// restored.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
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

  // Begins a save of what has changed since the save `base`, or of everything
  // if that is empty; no other begins before the lock is gone. From here on
  // there is no last save. FailedPrecondition if `base` is not the last one.
  absl::StatusOr<std::unique_lock<std::mutex>> BeginSave(
      const std::string& base);
  // Of the holder of the lock: from now on changes are those since that save.
  void SetLastSave(const std::string& save_id) { last_save_ = save_id; }
  // The tables are no longer what was saved and changed.
  void ForgetLastSave();

  std::string DebugString() const override;
  int64_t MemoryUsed() const override;

 private:
  TableSet() = default;

  std::vector<std::unique_ptr<EmbeddingHashTable>> tables_;
  std::vector<int64_t> dims_;
  std::mutex save_mutex_;
  std::string last_save_;  // guarded by save_mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_H_
