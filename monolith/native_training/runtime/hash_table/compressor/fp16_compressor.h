#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP16_COMPRESSOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP16_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// IEEE 754 16 bit floats, rounded to nearest, ties to even.
//
// Error: at most 2^-11 of the value for magnitudes from 2^-14 to 65504, and at
// most 2^-25 below. Magnitudes beyond 65504 become 65504, not infinity.
class Fp16Compressor final : public Compressor {
 public:
  // Type "fp16", without parameters.
  static absl::StatusOr<std::unique_ptr<Compressor>> Create(
      const CompressorConfig& config);

  size_t EncodedBytes(int dim) const override;
  void Encode(absl::Span<const float> values,
              absl::Span<uint8_t> bytes) const override;
  void Decode(absl::Span<const uint8_t> bytes,
              absl::Span<float> values) const override;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP16_COMPRESSOR_H_
