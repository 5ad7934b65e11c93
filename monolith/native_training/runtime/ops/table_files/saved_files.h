// Which files make up a save, and which saves follow each other.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

struct SavedFile {
  std::string name;
  TableFileHeader header;
};

// The files of one save.
using SavedFiles = std::vector<SavedFile>;

// Reads the headers of files that are given save by save, one of everything
// first. `save_ids`: of which save each file has to be; empty if any will do.
// DataLoss if a file is of another one, if a save lacks a file, has one twice,
// or does not have the changes since the one before; the errors of
// TableFileReader::Open. REQUIRES: as many save_ids as files, or none.
absl::StatusOr<std::vector<SavedFiles>> FindSaves(
    tensorflow::Env* env, absl::Span<const std::string> files,
    absl::Span<const std::string> save_ids);

// Opens a file again, to read what its header promised. Unknown, as of storage,
// if one of another save or with other tables has replaced it meanwhile; else
// the errors of TableFileReader::Open.
absl::StatusOr<std::unique_ptr<TableFileReader>> Reopen(tensorflow::Env* env,
                                                        const SavedFile& file);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_
