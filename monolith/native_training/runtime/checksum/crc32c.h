// CRC-32C (Castagnoli), as TFRecord and iSCSI use it, not masked.
//
//   uint32_t crc = Crc32c(first);
//   crc = ExtendCrc32c(crc, second);  // that of both, one after the other
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_CHECKSUM_CRC32C_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_CHECKSUM_CRC32C_H_

#include <cstdint>

#include "absl/types/span.h"

namespace monolith {

// Uses the processor's instruction where there is one. Thread-safe.
uint32_t ExtendCrc32c(uint32_t crc, absl::Span<const uint8_t> bytes);

inline uint32_t Crc32c(absl::Span<const uint8_t> bytes) {
  return ExtendCrc32c(0, bytes);
}

// Without that instruction. For tests.
uint32_t ExtendCrc32cPortably(uint32_t crc, absl::Span<const uint8_t> bytes);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_CHECKSUM_CRC32C_H_
