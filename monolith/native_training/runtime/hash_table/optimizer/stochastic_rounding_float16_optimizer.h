#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_STOCHASTIC_ROUNDING_FLOAT16_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_STOCHASTIC_ROUNDING_FLOAT16_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Another optimizer, after each step of which the embedding is rounded to 16
// bit floats: up or down at random, so that it stays right on average however
// small the steps (Gupta, Agrawal, Gopalakrishnan, Narayanan: Deep Learning
// with Limited Numerical Precision, 2015):
//   w = the multiple of the spacing below w, or with probability
//       (w - below) / spacing the one above it
// Magnitudes beyond 65504 become 65504. The row still takes 32 bits a float and
// the state is not rounded: what is gained is that export in 16 bits is exact.
//
// The random bits are a hash of the segment's seed, the id, the number of the
// row's updates and the position. So the same updates give the same row, and
// what is drawn for one float says nothing of what is drawn for another.
// State: that of the other optimizer, then the number of updates, modulo 2^24.
class StochasticRoundingFloat16Optimizer final : public Optimizer {
 public:
  // Type "stochastic_rounding_float16": "optimizer", the config of the other
  // one (default "adagrad"), which must not be of this type.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit StochasticRoundingFloat16Optimizer(
      std::unique_ptr<const Optimizer> optimizer);

  int StateDim(int dim) const override;
  float default_learning_rate() const override {
    return optimizer_->default_learning_rate();
  }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> ranges) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const std::unique_ptr<const Optimizer> optimizer_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_STOCHASTIC_ROUNDING_FLOAT16_OPTIMIZER_H_
