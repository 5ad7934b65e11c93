// Reads a table file (table_file_format.h) and checks it as it goes.
//
//   auto reader = TableFileReader::Open(env, file);
//   for (;;) {
//     auto block = (*reader)->Next();  // rows, erased ids or ids on trial
//     if (!block.ok()) return block.status();
//     if (!block->has_value()) break;  // the file was whole
//   }
//
// Every error names the file, and where in it. DataLoss: the file is damaged or
// was never finished. Not thread-safe.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_READER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/ops/table_files/record_reader.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_system.h"

namespace monolith {

class TableFileReader {
 public:
  // Reads the header.
  static absl::StatusOr<std::unique_ptr<TableFileReader>> Open(
      tensorflow::Env* env, const std::string& file);

  const std::string& file() const { return file_; }
  const TableFileHeader& header() const { return header_; }

  // The error for a file that cannot be used.
  absl::Status Damaged(absl::string_view reason) const;

  using Block = std::variant<RowBlock, ErasedBlock, TrialBlock>;

  // The next block, whose table and widths are those of the header; nothing
  // after the last, once the footer has confirmed that all were there.
  absl::StatusOr<std::optional<Block>> Next();

 private:
  TableFileReader(std::string file,
                  std::unique_ptr<tensorflow::RandomAccessFile> source,
                  uint64_t size);

  // False at the end of the file.
  absl::StatusOr<bool> ReadRecord();
  absl::Status CheckTable(uint32_t table) const;
  absl::StatusOr<RowBlock> TakeRows();
  absl::StatusOr<ErasedBlock> TakeErased();
  absl::StatusOr<TrialBlock> TakeTrials(
      absl::StatusOr<TrialBlock> (*decode)(absl::string_view));
  absl::Status CheckFooter();

  const std::string file_;
  std::unique_ptr<tensorflow::RandomAccessFile> source_;
  const uint64_t size_;         // Bytes of the file.
  uint64_t record_offset_ = 0;  // Where record_ begins.
  RecordReader records_;
  absl::string_view record_;
  TableFileHeader header_;
  TableFileFooter read_;  // So far.
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_READER_H_
