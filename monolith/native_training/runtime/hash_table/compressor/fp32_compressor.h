#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP32_COMPRESSOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP32_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// 32 bit floats: every value comes back as it was.
class Fp32Compressor final : public Compressor {
 public:
  // Type "fp32", without parameters.
  static absl::StatusOr<std::unique_ptr<Compressor>> Create(
      const CompressorConfig& config);

  size_t EncodedBytes(int dim) const override;
  void Encode(absl::Span<const float> values,
              absl::Span<uint8_t> bytes) const override;
  void Decode(absl::Span<const uint8_t> bytes,
              absl::Span<float> values) const override;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_FP32_COMPRESSOR_H_
