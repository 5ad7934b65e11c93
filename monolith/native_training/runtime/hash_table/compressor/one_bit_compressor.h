#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_ONE_BIT_COMPRESSOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_ONE_BIT_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// A sign a float, and one magnitude for all: the mean magnitude of the segment,
// which of all magnitudes makes the sum of squared errors least (Rastegari et
// al.: XNOR-Net, 2016; Seide et al.: 1-Bit Stochastic Gradient Descent, 2014).
// 0 counts as positive. The mean is a 32 bit float; then come the signs, 8 in a
// byte, the first one lowest.
//
// Error: | |value| - mean | for each value, so at most the largest magnitude of
// the segment; the sum of squares is (sum of value^2) - dim * mean^2.
class OneBitCompressor final : public Compressor {
 public:
  // Type "one_bit", without parameters.
  static absl::StatusOr<std::unique_ptr<Compressor>> Create(
      const CompressorConfig& config);

  size_t EncodedBytes(int dim) const override;
  void Encode(absl::Span<const float> values,
              absl::Span<uint8_t> bytes) const override;
  void Decode(absl::Span<const uint8_t> bytes,
              absl::Span<float> values) const override;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPRESSOR_ONE_BIT_COMPRESSOR_H_
