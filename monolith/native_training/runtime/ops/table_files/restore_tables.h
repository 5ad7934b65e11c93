// Reads a server's tables back from the files of any number of servers.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

struct RestoreOptions {
  // Take over how often ids without a row have occurred.
  bool with_trials = true;
  // With kNothing, files need not have any table of the model either.
  MustFit must_fit = MustFit::kSharedSegments;
};

struct Restored {
  int64_t rows = 0;
  // What did not fit and began anew or was left out, a sentence each.
  std::vector<std::string> warnings;
};

// Replaces all rows of `tables` by those rows of the files whose ids belong to
// `shard` (id_hash.h); returns how many were read for it.
//
// The files are those of a save of everything, then those of each save of
// changes since the one before, in order; within a save the order is free.
// DataLoss if a file of a save is missing or a save does not follow the one
// before. With `save_ids`, one a file, each has to be of that save; DataLoss
// otherwise.
//
// With `with_trials`, ids on trial count on, as far as the tables have an
// occurrence_threshold: where the files are of as many shards, those of the
// same shard. Of other files a server takes all that it has room
// for, the latest before others: whose they are cannot be told, and those of
// ids that it does not get fade in time. If the admission_capacity has changed
// they begin at 0 again, with a warning.
//
// Tables and segments are matched by name, and must fit as `options` say. A
// table that only the files have is passed over. If a segment's optimizer is of
// another type now, its state starts anew, with a warning.
//
// DataLoss (a damaged or unfinished file, or one with a row that cannot be, see
// EmbeddingHashTable::ValidateRows) and InvalidArgument (a segment that
// does not fit) leave the tables as they were: if they have rows or ids on
// trial, all files are read to their end before the first row changes. Other
// errors leave them empty. Nobody else should use the tables meanwhile, but
// others may restore and save them: see TableTurns, whose errors are Aborted
// and Cancelled. No error of storage is one of these, or Unavailable: see
// StorageError. REQUIRES: 0 <= shard.index < shard.count; as many save_ids as
// files, or none.
absl::StatusOr<Restored> RestoreTables(TableSet& tables,
                                       absl::Span<const std::string> files,
                                       absl::Span<const std::string> save_ids,
                                       TableShard shard,
                                       const RestoreOptions& options,
                                       TableTurns::IsCancelled is_cancelled,
                                       tensorflow::Env* env);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RESTORE_TABLES_H_
