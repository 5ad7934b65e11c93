#include "monolith/native_training/runtime/hash_table/compressor/fp16_compressor.h"

#include <algorithm>
#include <cstring>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {
namespace {

// Integer arithmetic that every machine vectorizes, rather than conversion
// instructions that only some have.

constexpr uint32_t kSign = 0x80000000;
constexpr uint32_t kInfinity = 0x7f800000;
constexpr uint32_t kLargest = 0x477fe000;         // 65504
constexpr uint32_t kSmallestNormal = 0x38800000;  // 2^-14
constexpr int kDroppedBits = 13;                  // of the mantissa
constexpr uint32_t kExponentShift = 112 << 23;    // between the two biases
constexpr float kSubnormalSpacing = 1.0f / 16777216;
constexpr float kRounder = 8388608;  // 2^23: a float from here on is whole

MONOLITH_INLINE inline uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

MONOLITH_INLINE inline float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

MONOLITH_INLINE inline uint16_t ToHalf(float value) {
  const uint32_t bits = Bits(value);
  const uint32_t any_size = bits & ~kSign;
  const uint32_t size = any_size > kInfinity ? 0 : std::min(any_size, kLargest);
  const uint32_t is_odd = (size >> kDroppedBits) & 1;
  const uint32_t half_minus_one = (1u << (kDroppedBits - 1)) - 1;
  const uint32_t normal =
      (size - kExponentShift + half_minus_one + is_odd) >> kDroppedBits;
  const float spacings =
      FromBits(std::min(size, kSmallestNormal)) / kSubnormalSpacing;
  const uint32_t subnormal = Bits(spacings + kRounder) - Bits(kRounder);
  const uint32_t half = size < kSmallestNormal ? subnormal : normal;
  return static_cast<uint16_t>(half | (bits & kSign) >> 16);
}

MONOLITH_INLINE inline float FromHalf(uint16_t half) {
  constexpr uint32_t kHalfSmallestNormal = 0x0400;
  constexpr uint32_t kHalfInfinity = 0x7c00;
  const uint32_t size = half & 0x7fffu;
  const uint32_t shift =
      size < kHalfInfinity ? kExponentShift : 2 * kExponentShift;
  const uint32_t normal = (size << kDroppedBits) + shift;
  const uint32_t subnormal =
      Bits(static_cast<float>(static_cast<int32_t>(size)) * kSubnormalSpacing);
  const uint32_t sign = (half & 0x8000u) << 16;
  return FromBits((size < kHalfSmallestNormal ? subnormal : normal) | sign);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Compressor>> Fp16Compressor::Create(
    const CompressorConfig& config) {
  absl::Status status = ReadParams("compressor", config, {}).status();
  if (!status.ok()) return status;
  return std::make_unique<Fp16Compressor>();
}

size_t Fp16Compressor::EncodedBytes(int dim) const {
  return static_cast<size_t>(dim) * sizeof(uint16_t);
}

void Fp16Compressor::Encode(absl::Span<const float> values,
                            absl::Span<uint8_t> bytes) const {
  const float* const in = values.data();
  uint8_t* const out = bytes.data();
  VectorizedLoop(static_cast<int>(values.size()), [=](int i) MONOLITH_INLINE {
    const uint16_t half = ToHalf(in[i]);
    std::memcpy(out + i * sizeof(half), &half, sizeof(half));
  });
}

void Fp16Compressor::Decode(absl::Span<const uint8_t> bytes,
                            absl::Span<float> values) const {
  const uint8_t* const in = bytes.data();
  float* const out = values.data();
  VectorizedLoop(static_cast<int>(values.size()), [=](int i) MONOLITH_INLINE {
    uint16_t half;
    std::memcpy(&half, in + i * sizeof(half), sizeof(half));
    out[i] = FromHalf(half);
  });
}

}  // namespace monolith
