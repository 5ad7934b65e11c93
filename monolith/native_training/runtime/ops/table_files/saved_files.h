// Which files make up a save, and which saves follow each other.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

struct SavedFile {
  std::string name;
  TableFileHeader header;
};

// The files of one save.
using SavedFiles = std::vector<SavedFile>;

// Reads the headers of files that are given save by save, one of everything
// first. DataLoss if a save lacks a file, has one twice, or does not
// have the changes since the one before; the errors of TableFileReader::Open.
absl::StatusOr<std::vector<SavedFiles>> FindSaves(
    tensorflow::Env* env, absl::Span<const std::string> files);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SAVED_FILES_H_
