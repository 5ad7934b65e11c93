#include "monolith/native_training/runtime/hash_table/compressor/one_bit_compressor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {
namespace {

constexpr int kBits = 8;  // in a byte

float MeanMagnitude(absl::Span<const float> values) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const float* const in = values.data();
  const int n = static_cast<int>(values.size());
  const double sum = VectorizedSum(n, [=](int i) MONOLITH_INLINE {
    const float size = std::min(kLargest, std::abs(in[i]));
    return static_cast<double>(in[i] == in[i] ? size : 0.0f);
  });
  return static_cast<float>(sum / n);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Compressor>> OneBitCompressor::Create(
    const CompressorConfig& config) {
  absl::Status status = ReadParams("compressor", config, {}).status();
  if (!status.ok()) return status;
  return std::make_unique<OneBitCompressor>();
}

size_t OneBitCompressor::EncodedBytes(int dim) const {
  return sizeof(float) + (static_cast<size_t>(dim) + kBits - 1) / kBits;
}

void OneBitCompressor::Encode(absl::Span<const float> values,
                              absl::Span<uint8_t> bytes) const {
  const float mean = MeanMagnitude(values);
  std::memcpy(bytes.data(), &mean, sizeof(mean));
  const float* const in = values.data();
  uint8_t* const signs = bytes.data() + sizeof(mean);
  const int n = static_cast<int>(values.size());
  const int whole_bytes = n / kBits;
  VectorizedLoop(whole_bytes, [=](int b) MONOLITH_INLINE {
    int byte = 0;
    for (int bit = 0; bit < kBits; ++bit) {
      byte |= (in[b * kBits + bit] < 0 ? 1 : 0) << bit;
    }
    signs[b] = static_cast<uint8_t>(byte);
  });
  if (n % kBits == 0) return;
  int byte = 0;
  for (int i = whole_bytes * kBits; i < n; ++i) {
    byte |= (in[i] < 0 ? 1 : 0) << (i % kBits);
  }
  signs[whole_bytes] = static_cast<uint8_t>(byte);
}

void OneBitCompressor::Decode(absl::Span<const uint8_t> bytes,
                              absl::Span<float> values) const {
  float mean;
  std::memcpy(&mean, bytes.data(), sizeof(mean));
  const uint8_t* const signs = bytes.data() + sizeof(mean);
  float* const out = values.data();
  VectorizedLoop(static_cast<int>(values.size()), [=](int i) MONOLITH_INLINE {
    out[i] = signs[i / kBits] >> (i % kBits) & 1 ? -mean : mean;
  });
}

}  // namespace monolith
