#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAM_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAM_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adam (Kingma, Ba: Adam: A Method for Stochastic Optimization, 2015) as
// tf_keras.optimizers.Adam and tf.compat.v1.train.AdamOptimizer compute it,
// with weight decay added:
//   g += weight_decay_factor * w
//   m += (1 - beta1) * (g - m)
//   v += (1 - beta2) * (g^2 - v)
//   a  = learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t)
//   w -= a * m / (sqrt(v) + epsilon)
// With Nesterov momentum (Dozat: Incorporating Nesterov Momentum into Adam,
// 2016) as tf.raw_ops.ResourceApplyAdam(use_nesterov=True) computes it:
//   w -= a * (beta1 * m + (1 - beta1) * g) / (sqrt(v) + epsilon)
// t counts the updates of the row itself: a row that is updated for the first
// time makes a full first step however long others have been trained.
// State: m, then v, then 1 - beta1^t and 1 - beta2^t; all begin at 0.
class AdamOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float beta1 = 0.9f;
    float beta2 = 0.99f;
    float epsilon = 0.01f;
    bool use_nesterov = false;
    float weight_decay_factor = 0;
  };

  // Type "adam": "learning_rate" (default 0.01, at least 0), "beta1" (0.9) and
  // "beta2" (0.99), from 0 to below 1, "epsilon" (0.01, above 0),
  // "use_nesterov" (0), "weight_decay_factor" (0, at least 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit AdamOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAM_OPTIMIZER_H_
