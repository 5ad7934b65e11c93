#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOVING_AVERAGE_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOVING_AVERAGE_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// A row that follows what is fed to it in place of gradients, as
// tf.train.ExponentialMovingAverage(decay=momentum) computes it:
//   w -= (1 - momentum) * (w - g)
// The learning rate has no part in it. What is fed to an id several times in a
// batch is summed, as gradients are.
// It has no state.
class MovingAverageOptimizer final : public Optimizer {
 public:
  struct Params {
    float momentum = 0.9f;
  };

  // Type "moving_average": "momentum" (default 0.9, from 0 to below 1).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit MovingAverageOptimizer(const Params& params) : params_(params) {}

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return 0; }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> /*ranges*/) const override {}
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOVING_AVERAGE_OPTIMIZER_H_
