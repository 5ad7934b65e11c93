#include "monolith/native_training/runtime/checksum/crc32c.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __x86_64__
#include <nmmintrin.h>
#endif

namespace monolith {
namespace {

using ByteTable = std::array<uint32_t, 256>;

ByteTable MakeByteTable() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // bits reversed
  ByteTable table;
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) uint32_t ExtendByInstruction(
    uint32_t crc, absl::Span<const uint8_t> bytes) {
  uint64_t state = ~crc;
  size_t i = 0;
  for (; i + sizeof(uint64_t) <= bytes.size(); i += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    state = _mm_crc32_u64(state, word);
  }
  auto rest = static_cast<uint32_t>(state);
  for (; i < bytes.size(); ++i) rest = _mm_crc32_u8(rest, bytes[i]);
  return ~rest;
}
#endif

}  // namespace

uint32_t ExtendCrc32cPortably(uint32_t crc, absl::Span<const uint8_t> bytes) {
  static const ByteTable table = MakeByteTable();
  crc = ~crc;
  for (const uint8_t byte : bytes) {
    crc = (crc >> 8) ^ table[(crc ^ byte) & 0xff];
  }
  return ~crc;
}

uint32_t ExtendCrc32c(uint32_t crc, absl::Span<const uint8_t> bytes) {
#ifdef __x86_64__
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) return ExtendByInstruction(crc, bytes);
#endif
  return ExtendCrc32cPortably(crc, bytes);
}

}  // namespace monolith
