// Turns the files of a checkpoint's rows into compact tables for serving.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_EXPORT_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_EXPORT_TABLES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

struct ExportedTables {
  // Of each shard, the rows of each table: in the order of the outputs.
  std::vector<int64_t> rows;
  int64_t rows_read = 0;  // of all files; those of an id in each save
};

// Writes a compact table for each shard and config, with those rows of a
// checkpoint whose ids belong to the shard (id_hash.h), without optimizer
// state. Output s * configs.size() + t is that of table t of shard s.
//
// `files` and `save_ids` are as of RestoreTables, and so are tables and
// segments matched with them and rows checked; every table must be there, if
// without rows, and every segment fit. Every file is read once, a block at a
// time, in one thread of low priority, for which this one waits. Rows take up
// to `memory_bytes`; more are in one temporary file beside the first output
// until all outputs are written.
//
// DataLoss: a file is damaged, unfinished or missing; InvalidArgument: it does
// not fit the configs; Unknown: an output cannot be written, or a file not be
// read just now; Cancelled: `is_cancelled`, which is asked now and then, said
// so. Outputs may be there in part then.
// REQUIRES: num_shards * configs.size() outputs, num_shards > 0, and configs.
absl::StatusOr<ExportedTables> ExportTables(
    const std::vector<TableConfig>& configs,
    absl::Span<const std::string> files, absl::Span<const std::string> save_ids,
    int num_shards, absl::Span<const std::string> outputs, size_t memory_bytes,
    const std::function<bool()>& is_cancelled, tensorflow::Env* env);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_EXPORT_TABLES_H_
