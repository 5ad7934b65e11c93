// Writes a server's tables to files (table_file_format.h).
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_

#include <string>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/ops/table_files/save_pace.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

struct SaveRequest {
  // Of the file, or with several of each: then "-K-of-N" follows.
  std::string file;
  int num_files = 1;  // 1 .. kMaxFiles, written beside each other
  TableShard shard;   // the one that the tables hold
  std::string written_by;
  // Of a save that others may take up from; empty for a copy on the side.
  std::string save_id;
  // Write only what has changed since that save; empty: everything.
  std::string base_save_id;
  // Does not rest, whoever trains beside it: for who may be killed soon.
  bool urgent = false;
};

constexpr int kMaxFiles = 64;

// Returns what was written of all tables. Files appear under their names when
// they are whole, replacing those that were there; their folder is made if
// needed. Tables may be used and trained meanwhile: see
// EmbeddingHashTable::SaveStripe for what is from one moment. Those who train
// have most of the processors, as SavePace tells, but not from when the save is
// urgent, or TableSet::HurrySaves is called. `clock` is that of its pace.
//
// InvalidArgument if a save_id is not UTF-8. FailedPrecondition if the tables
// do not know what has changed since `base_save_id`, because that was not their
// last save, or has failed, or they were restored since, or have lost too many
// rows. Cancelled or Aborted: see TableTurns. No error of storage is one of
// these, or Unavailable: see StorageError. An error leaves no file behind, if
// that can be helped, and unless it is a copy's the next save must be of
// everything.
absl::StatusOr<TableCounts> SaveTables(
    TableSet& tables, const SaveRequest& request,
    TableTurns::IsCancelled is_cancelled, tensorflow::Env* env,
    SavePace::Clock& clock = SavePace::Clock::System());

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVE_TABLES_H_
