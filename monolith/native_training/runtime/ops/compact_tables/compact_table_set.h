// The compact tables of a served model, as a TensorFlow resource.
//
// It is made empty, and gets its tables when the model is loaded.
//
// Thread safety: thread-safe. Who has taken the tables keeps them, also when
// others are loaded.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_COMPACT_TABLE_SET_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_COMPACT_TABLE_SET_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/compact_table.h"
#include "tensorflow/core/framework/resource_base.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

class CompactTableSet : public tensorflow::ResourceBase {
 public:
  using Tables = std::vector<std::unique_ptr<CompactTable>>;

  // REQUIRES: as many names as dims.
  CompactTableSet(std::vector<std::string> names, std::vector<int64_t> dims)
      : names_(std::move(names)), dims_(std::move(dims)) {}

  int num_tables() const { return static_cast<int>(names_.size()); }
  absl::Span<const std::string> names() const { return names_; }
  // (num_tables) floats per row.
  absl::Span<const int64_t> dims() const { return dims_; }

  // Reads the tables from files in any order; replaces those that are there if
  // nothing fails. InvalidArgument unless they are those of `names` and `dims`;
  // the errors of CompactTable::Load. All of them name the file.
  absl::Status Load(absl::Span<const std::string> files, tensorflow::Env* env);

  // The tables in the order of their names; null before they are loaded.
  std::shared_ptr<const Tables> tables() const;

  std::string DebugString() const override;
  int64_t MemoryUsed() const override;

 private:
  const std::vector<std::string> names_;
  const std::vector<int64_t> dims_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Tables> tables_;  // guarded by mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_COMPACT_TABLE_SET_H_
