#include "monolith/native_training/runtime/hash_table/compressor/fp32_compressor.h"

#include <cstring>

#include "monolith/native_training/runtime/hash_table/component_params.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Compressor>> Fp32Compressor::Create(
    const CompressorConfig& config) {
  absl::Status status = ReadParams("compressor", config, {}).status();
  if (!status.ok()) return status;
  return std::make_unique<Fp32Compressor>();
}

size_t Fp32Compressor::EncodedBytes(int dim) const {
  return static_cast<size_t>(dim) * sizeof(float);
}

void Fp32Compressor::Encode(absl::Span<const float> values,
                            absl::Span<uint8_t> bytes) const {
  std::memcpy(bytes.data(), values.data(), bytes.size());
}

void Fp32Compressor::Decode(absl::Span<const uint8_t> bytes,
                            absl::Span<float> values) const {
  std::memcpy(values.data(), bytes.data(), bytes.size());
}

}  // namespace monolith
