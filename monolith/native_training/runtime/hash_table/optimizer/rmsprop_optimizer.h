#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_RMSPROP_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_RMSPROP_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// RMSProp (Hinton, Srivastava, Swersky: Neural Networks for Machine Learning,
// lecture 6e, 2012) as tf_keras.optimizers.RMSprop(rho=momentum) computes it:
//   v  = momentum * v + (1 - momentum) * g^2
//   w -= learning_rate * g / sqrt(v + epsilon)
// "momentum" is the inertia of the mean square, 0.9 in the lecture: it is not a
// momentum of the weights.
// State: v, which begins at 0.
class RmspropOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float momentum = 0.9f;
    float epsilon = 1e-7f;
  };

  // Type "rmsprop": "learning_rate" (default 0.01, at least 0), "momentum"
  // (0.9, from 0 to below 1), "epsilon" (1e-7, above 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit RmspropOptimizer(const Params& params) : params_(params) {}

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return params_.learning_rate; }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> ranges) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_RMSPROP_OPTIMIZER_H_
