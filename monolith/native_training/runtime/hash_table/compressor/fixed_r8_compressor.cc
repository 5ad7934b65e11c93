#include "monolith/native_training/runtime/hash_table/compressor/fixed_r8_compressor.h"

#include <algorithm>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Compressor>> FixedR8Compressor::Create(
    const CompressorConfig& config) {
  auto values =
      ReadParams("compressor", config, {AtLeast(1e-30f, "fixed_range", 1)});
  if (!values.ok()) return values.status();
  return std::make_unique<FixedR8Compressor>(values->at("fixed_range"));
}

size_t FixedR8Compressor::EncodedBytes(int dim) const {
  return static_cast<size_t>(dim);
}

void FixedR8Compressor::Encode(absl::Span<const float> values,
                               absl::Span<uint8_t> bytes) const {
  constexpr float kMax = 127;
  constexpr float kRounder = 12582912;  // 1.5 * 2^23: floats there are whole
  const float* const in = values.data();
  uint8_t* const out = bytes.data();
  const float step = step_;
  VectorizedLoop(static_cast<int>(values.size()), [=](int i) MONOLITH_INLINE {
    const float value = in[i] == in[i] ? in[i] : 0;
    const float steps = std::max(-kMax, std::min(kMax, value / step));
    const float rounded = (steps + kRounder) - kRounder;
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(rounded));
  });
}

void FixedR8Compressor::Decode(absl::Span<const uint8_t> bytes,
                               absl::Span<float> values) const {
  const uint8_t* const in = bytes.data();
  float* const out = values.data();
  const float step = step_;
  VectorizedLoop(static_cast<int>(values.size()), [=](int i) MONOLITH_INLINE {
    out[i] = static_cast<float>(static_cast<int8_t>(in[i])) * step;
  });
}

}  // namespace monolith
