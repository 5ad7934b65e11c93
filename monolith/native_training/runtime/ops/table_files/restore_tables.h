// Reads a server's tables back from the files of any number of servers.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/ops/table_set.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

// Replaces all rows of `tables` by those rows of the files whose ids belong to
// `shard_index` of `num_shards` (id_hash.h); returns how many there are.
//
// Tables and segments are matched by name. What only the files have is passed
// over; a segment that only the model has gets initial values. If a segment's
// optimizer is of another type now, its state starts anew, with a warning.
//
// All files are read to their end before the first row changes: DataLoss (a
// damaged or unfinished file, or one with a row that cannot be, see
// EmbeddingHashTable::ValidateRows) and InvalidArgument (a segment of another
// dim) leave the tables as they were. Nobody else should use the tables
// meanwhile. REQUIRES: 0 <= shard_index < num_shards.
absl::StatusOr<int64_t> RestoreTables(TableSet& tables,
                                      absl::Span<const std::string> files,
                                      int shard_index, int num_shards,
                                      tensorflow::Env* env, Executor& executor);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_
