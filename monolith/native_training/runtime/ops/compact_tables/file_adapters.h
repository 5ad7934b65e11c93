// TensorFlow's files as those of runtime/compact_table. Errors name the file.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_FILE_ADAPTERS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_FILE_ADAPTERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/byte_files.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_system.h"

namespace monolith {

class FileSource : public ByteSource {
 public:
  static absl::StatusOr<std::unique_ptr<FileSource>> Open(
      tensorflow::Env* env, const std::string& file);

  uint64_t size() const override { return size_; }
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override;

 private:
  FileSource() = default;

  std::unique_ptr<tensorflow::RandomAccessFile> file_;
  uint64_t size_ = 0;
};

class FileSink : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<FileSink>> Create(
      tensorflow::Env* env, const std::string& file);

  absl::Status Append(absl::Span<const uint8_t> bytes) override;

  absl::Status Close();
  // Close, and the file outlives a loss of power after that.
  absl::Status CloseAndFlush();

 private:
  explicit FileSink(std::string name) : name_(std::move(name)) {}

  const std::string name_;
  std::unique_ptr<tensorflow::WritableFile> file_;
};

// Is made when it is first written to, and removed at the end.
class TemporaryFile : public ScratchFile {
 public:
  TemporaryFile(tensorflow::Env* env, std::string file)
      : env_(env), name_(std::move(file)) {}
  ~TemporaryFile() override;

  absl::Status Append(absl::Span<const uint8_t> bytes) override;
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) override;

 private:
  tensorflow::Env* const env_;
  const std::string name_;
  std::unique_ptr<FileSink> sink_;
  std::unique_ptr<FileSource> source_;  // once it is read
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_COMPACT_TABLES_FILE_ADAPTERS_H_
