// Files that are strings, for tests.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_MEMORY_FILES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_MEMORY_FILES_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/byte_files.h"

namespace monolith {

inline absl::Status CopyFrom(const std::vector<uint8_t>& file, uint64_t offset,
                             absl::Span<uint8_t> bytes) {
  if (offset > file.size() || file.size() - offset < bytes.size()) {
    return absl::OutOfRangeError("the file is shorter");
  }
  std::copy_n(file.begin() + offset, bytes.size(), bytes.begin());
  return absl::OkStatus();
}

class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::vector<uint8_t> bytes)
      : bytes_(std::move(bytes)) {}

  uint64_t size() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override {
    return CopyFrom(bytes_, offset, bytes);
  }

 private:
  const std::vector<uint8_t> bytes_;
};

class MemoryFile : public ScratchFile {
 public:
  absl::Status Append(absl::Span<const uint8_t> bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  }
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) override {
    return CopyFrom(bytes_, offset, bytes);
  }

  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_MEMORY_FILES_H_
