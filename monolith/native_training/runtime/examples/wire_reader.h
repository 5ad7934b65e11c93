// Reads protobuf's wire format, never beyond its bytes, and accepts exactly
// what the reader inside TensorFlow's tf.io.parse_example accepts:
// - a nested message whose length points beyond the end goes to the end;
// - numbers have up to 10 bytes, and bits beyond their type are dropped.
//
// A method that returns false leaves the reader where it may no longer be used.
//
// Thread safety: not thread-safe.
//
// Example: the fields of {0x0A, 0x01, 0x05} are one block, {0x05}, of field 1.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_WIRE_READER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_WIRE_READER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace monolith {

class WireReader {
 public:
  // How a field's value is written: the low 3 bits of its tag.
  enum WireType : uint32_t {
    kVarint = 0,
    kFixed64 = 1,
    kDelimited = 2,
    kFixed32 = 5,
  };

  // The one byte with which a field of a number below 16 begins.
  static constexpr uint8_t Tag(uint32_t field, WireType type) {
    return static_cast<uint8_t>(field << 3 | type);
  }

  // `bytes` must outlive the reader.
  explicit WireReader(absl::string_view bytes)
      : at_(reinterpret_cast<const uint8_t*>(bytes.data())),
        end_(at_ + bytes.size()) {}

  bool AtEnd() const { return at_ == end_; }
  size_t Left() const { return static_cast<size_t>(end_ - at_); }

  // The next byte, 0 at the end.
  uint8_t Peek() const { return AtEnd() ? 0 : *at_; }

  // Passes the next byte if it is this one.
  bool Take(uint8_t byte) {
    if (AtEnd() || *at_ != byte) return false;
    ++at_;
    return true;
  }

  bool ReadVarint64(uint64_t* value) {
    if (AtEnd()) return false;
    if (*at_ < 0x80) {
      *value = *at_++;
      return true;
    }
    return ReadLongVarint(value);
  }

  // The low 32 bits.
  bool ReadVarint32(uint32_t* value) {
    uint64_t wide;
    if (!ReadVarint64(&wide)) return false;
    *value = static_cast<uint32_t>(wide);
    return true;
  }

  // Passes a number of any type.
  bool SkipVarint() {
    const uint8_t* const last = at_ + std::min<size_t>(Left(), kMaxVarintBytes);
    while (at_ != last) {
      if (*at_++ < 0x80) return true;
    }
    return false;
  }

  // REQUIRES: as many bytes are left.
  float NextFloat() {
    float value;
    std::memcpy(&value, at_, sizeof(value));
    at_ += sizeof(value);
    return value;
  }

  bool Skip(size_t bytes) {
    if (bytes > Left()) return false;
    at_ += bytes;
    return true;
  }

  // A length and that many bytes, all of which must be there.
  bool ReadString(absl::string_view* value) {
    uint32_t length;
    if (!ReadVarint32(&length) || length > Left()) return false;
    *value = Next(length);
    return true;
  }

  // A length and that many bytes, or as many as are left.
  bool ReadBlock(absl::string_view* block) {
    uint32_t length;
    if (!ReadVarint32(&length)) return false;
    *block = Next(std::min<size_t>(length, Left()));
    return true;
  }

 private:
  static constexpr int kMaxVarintBytes = 10;

  absl::string_view Next(size_t length) {
    const absl::string_view next(reinterpret_cast<const char*>(at_), length);
    at_ += length;
    return next;
  }

  bool ReadLongVarint(uint64_t* value) {
    uint64_t result = 0;
    for (int i = 0; i < kMaxVarintBytes && !AtEnd(); ++i) {
      const uint64_t byte = *at_++;
      result |= (byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        *value = result;
        return true;
      }
    }
    return false;
  }

  const uint8_t* at_;
  const uint8_t* end_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_EXAMPLES_WIRE_READER_H_
