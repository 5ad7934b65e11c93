#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_READER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/platform/file_system.h"

namespace monolith {

// Reads what RecordWriter writes. tensorflow::io::RecordReader makes room for
// as many bytes as a record says that it has, before it looks for them.
//
//   RecordReader reader(*file, size);
//   for (;;) {
//     auto record = reader.Next();
//     if (!record.ok()) return record.status();
//     if (!record->has_value()) break;
//     Use(**record);
//   }
//
// Reads ahead little at first, for who wants the first record alone, and then
// ever more. Takes no more memory than a record and what is read ahead.
//
// Not thread-safe. The file must outlive it.
class RecordReader {
 public:
  // `size`: bytes of the file.
  RecordReader(const tensorflow::RandomAccessFile& file, uint64_t size);

  // The next record, until the next call; none at the end. DataLoss with the
  // reason, but without the file's name, if it is damaged or ends too early;
  // else what the file says.
  absl::StatusOr<std::optional<absl::string_view>> Next();

  // Where the next record begins.
  uint64_t offset() const { return offset_; }

 private:
  // The next n bytes, which the file has; they stay the next ones.
  absl::StatusOr<absl::string_view> Peek(size_t n);

  uint64_t left() const { return size_ - offset_; }

  const tensorflow::RandomAccessFile& file_;
  const uint64_t size_;
  uint64_t offset_ = 0;
  size_t read_ahead_;
  // Bytes [buffer_offset_, buffer_offset_ + buffer_size_) of the file.
  std::unique_ptr<char[]> buffer_;
  size_t buffer_capacity_ = 0;
  uint64_t buffer_offset_ = 0;
  size_t buffer_size_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_RECORD_READER_H_
