#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOMENTUM_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOMENTUM_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Momentum (Polyak, 1964; Sutskever, Martens, Dahl, Hinton: On the importance
// of initialization and momentum in deep learning, 2013) as
// tf.compat.v1.train.MomentumOptimizer computes it:
//   m  = momentum * m + g
//   w -= learning_rate * m
// and with Nesterov's:
//   w -= learning_rate * (g + momentum * m)
// State: m, which begins at 0.
class MomentumOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float momentum = 0.9f;
    bool use_nesterov = false;
  };

  // Type "momentum": "learning_rate" (default 0.01, at least 0), "momentum"
  // (0.9, from 0 to below 1), "use_nesterov" (0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit MomentumOptimizer(const Params& params) : params_(params) {}

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return params_.learning_rate; }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> /*ranges*/) const override {}
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_MOMENTUM_OPTIMIZER_H_
