#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FIXED_R8_COMPRESSOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FIXED_R8_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Whole multiples, from -127 to 127, of fixed_range / 127, in 8 bits.
//
// Error: at most fixed_range / 254, and what rounding to floats adds to that
// (2^-22 of fixed_range), for magnitudes up to fixed_range. Magnitudes beyond
// become fixed_range.
class FixedR8Compressor final : public Compressor {
 public:
  // Type "fixed_r8": "fixed_range" (default 1, at least 1e-30).
  static absl::StatusOr<std::unique_ptr<Compressor>> Create(
      const CompressorConfig& config);

  explicit FixedR8Compressor(float fixed_range) : step_(fixed_range / 127) {}

  size_t EncodedBytes(int dim) const override;
  void Encode(absl::Span<const float> values,
              absl::Span<uint8_t> bytes) const override;
  void Decode(absl::Span<const uint8_t> bytes,
              absl::Span<float> values) const override;

 private:
  const float step_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FIXED_R8_COMPRESSOR_H_
