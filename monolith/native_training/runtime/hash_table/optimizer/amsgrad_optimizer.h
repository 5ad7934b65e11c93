#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_AMSGRAD_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_AMSGRAD_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adam whose second moment never falls (Reddi, Kale, Kumar: On the Convergence
// of Adam and Beyond, 2018) as tf_keras.optimizers.Adam(amsgrad=True) computes
// it, with weight decay added:
//   g += weight_decay_factor * w
//   m += (1 - beta1) * (g - m)
//   v += (1 - beta2) * (g^2 - v)
//   v_max = max(v_max, v)
//   a  = learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t)
//   w -= a * m / (sqrt(v_max) + epsilon)
// t counts the updates of the row itself.
// State: m, then v, then v_max, then 1 - beta1^t and 1 - beta2^t; all begin at
// 0.
class AmsgradOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float beta1 = 0.9f;
    float beta2 = 0.99f;
    float epsilon = 0.01f;
    float weight_decay_factor = 0;
  };

  // Type "amsgrad": "learning_rate" (default 0.01, at least 0), "beta1" (0.9)
  // and "beta2" (0.99), from 0 to below 1, "epsilon" (0.01, above 0),
  // "weight_decay_factor" (0, at least 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit AmsgradOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_AMSGRAD_OPTIMIZER_H_
