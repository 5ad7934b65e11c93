#include "monolith/native_training/runtime/ops/compact_tables/file_adapters.h"

#include <cstring>

#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/ops/table_files/storage.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileSource>> FileSource::Open(
    tensorflow::Env* env, const std::string& file) {
  std::unique_ptr<FileSource> source(new FileSource());
  TF_RETURN_IF_ERROR(env->GetFileSize(file, &source->size_));
  TF_RETURN_IF_ERROR(env->NewRandomAccessFile(file, &source->file_));
  return source;
}

absl::Status FileSource::Read(uint64_t offset,
                              absl::Span<uint8_t> bytes) const {
  if (bytes.empty()) return absl::OkStatus();
  auto* const begin = reinterpret_cast<char*>(bytes.data());
  absl::string_view read;
// What takes its place is not there in TensorFlow 2.15.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  TF_RETURN_IF_ERROR(file_->Read(offset, bytes.size(), &read, begin));
#pragma GCC diagnostic pop
  // Some filesystems point into memory of their own instead.
  if (read.data() != begin) std::memmove(begin, read.data(), read.size());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileSink>> FileSink::Create(
    tensorflow::Env* env, const std::string& file) {
  std::unique_ptr<FileSink> sink(new FileSink(file));
  TF_RETURN_IF_ERROR(env->NewWritableFile(file, &sink->file_));
  return sink;
}

absl::Status FileSink::Append(absl::Span<const uint8_t> bytes) {
  return file_->Append(AsText(bytes));
}

absl::Status FileSink::Close() { return file_->Close(); }

absl::Status FileSink::CloseAndFlush() {
  TF_RETURN_IF_ERROR(file_->Sync());
  TF_RETURN_IF_ERROR(file_->Close());
  return FlushFile(name_);
}

TemporaryFile::~TemporaryFile() {
  if (sink_ == nullptr) return;
  source_.reset();
  sink_.reset();
  env_->DeleteFile(name_).IgnoreError();
}

absl::Status TemporaryFile::Append(absl::Span<const uint8_t> bytes) {
  if (sink_ == nullptr) {
    TF_ASSIGN_OR_RETURN(sink_, FileSink::Create(env_, name_));
  }
  source_.reset();
  return sink_->Append(bytes);
}

absl::Status TemporaryFile::Read(uint64_t offset, absl::Span<uint8_t> bytes) {
  if (source_ == nullptr) {
    // On some filesystems a file is there once it is closed, so nothing can be
    // appended behind this.
    TF_RETURN_IF_ERROR(sink_->Close());
    TF_ASSIGN_OR_RETURN(source_, FileSource::Open(env_, name_));
  }
  return source_->Read(offset, bytes);
}

}  // namespace monolith
