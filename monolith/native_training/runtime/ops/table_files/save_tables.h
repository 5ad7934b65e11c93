// Writes a server's tables to one file (table_file_format.h).
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

// Returns the number of rows written. The file appears under its name when it
// is whole, replacing one that was there; its folder is made if needed. Tables
// may be used and trained meanwhile: each stripe, rows and ids on trial, is
// written as it was at one moment. `shard` is the one that the tables hold.
absl::StatusOr<int64_t> SaveTables(const TableSet& tables, TableShard shard,
                                   absl::string_view written_by,
                                   tensorflow::Env* env,
                                   const std::string& file);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_
