#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_DYNAMIC_WD_ADAGRAD_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_DYNAMIC_WD_ADAGRAD_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adagrad with decoupled weight decay (Loshchilov, Hutter: Decoupled Weight
// Decay Regularization, 2019) as tf_keras.optimizers.Adagrad(epsilon=0,
// weight_decay=weight_decay_factor) computes it:
//   w   -= learning_rate * weight_decay_factor * w
//   acc += g^2
//   w   -= learning_rate * g / sqrt(acc)
// The decay is dynamic in that it follows the learning rate through warm-up and
// schedule. The accumulator does not see it, so it is as strong on rows with
// large gradients as on others. State: acc.
class DynamicWdAdagradOptimizer final : public Optimizer {
 public:
  using Params = AdagradOptimizer::Params;

  // Type "dynamic_wd_adagrad": the parameters of "adagrad".
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit DynamicWdAdagradOptimizer(const Params& params);

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return params_.learning_rate; }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> ranges) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
  const AdagradOptimizer adagrad_;  // without weight decay
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_DYNAMIC_WD_ADAGRAD_OPTIMIZER_H_
