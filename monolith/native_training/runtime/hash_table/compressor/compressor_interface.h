#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_INTERFACE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_INTERFACE_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace monolith {

// How the floats of one segment of a row are stored in an exported model.
//
// Each implementation states how far a decoded float may be from the encoded
// one. Infinities are stored as the largest numbers and, but for "fp32", which
// keeps every bit, NaN as 0; the rows of a table have neither. Bytes are in
// little-endian order and the same on every machine.
//
// Thread safety: implementations are immutable and thread-safe.
//
// Example:
//   std::vector<uint8_t> bytes(compressor.EncodedBytes(dim));
//   compressor.Encode(values, absl::MakeSpan(bytes));
//   compressor.Decode(bytes, absl::MakeSpan(values));
class Compressor {
 public:
  virtual ~Compressor() = default;

  // Bytes for a segment of `dim` floats, at least 1.
  virtual size_t EncodedBytes(int dim) const = 0;

  virtual void Encode(
      absl::Span<const float> values,        // (dim)
      absl::Span<uint8_t> bytes) const = 0;  // (EncodedBytes(dim))

  virtual void Decode(absl::Span<const uint8_t> bytes,  // (EncodedBytes(dim))
                      absl::Span<float> values) const = 0;  // (dim)
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_COMPRESSOR_INTERFACE_H_
