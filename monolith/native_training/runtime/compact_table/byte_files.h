// Where compact tables are written to and read from. The core knows no
// filesystem; runtime/ops adapts TensorFlow's.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BYTE_FILES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BYTE_FILES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace monolith {

// A file that grows. Not thread-safe.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual absl::Status Append(absl::Span<const uint8_t> bytes) = 0;
};

// A file that does not change. Thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // Fills `bytes` from `offset`. OutOfRange if the file ends before.
  virtual absl::Status Read(uint64_t offset,
                            absl::Span<uint8_t> bytes) const = 0;
};

// A temporary file: what was appended can be read back. Not thread-safe.
class ScratchFile : public ByteSink {
 public:
  virtual absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BYTE_FILES_H_
