#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_WRITER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_WRITER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/platform/file_system.h"

namespace monolith {

// Writes what tensorflow::io::RecordWriter does, without compression. That one
// computes checksums without the processor's instruction for them, which takes
// a third of a save's time.
//
// Format: https://www.tensorflow.org/tutorials/load_data/tfrecord
//
// Not thread-safe. The file must outlive it, and is not closed.
class RecordWriter {
 public:
  explicit RecordWriter(tensorflow::WritableFile& file) : file_(file) {}

  absl::Status Write(absl::string_view record);

 private:
  tensorflow::WritableFile& file_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_WRITER_H_
