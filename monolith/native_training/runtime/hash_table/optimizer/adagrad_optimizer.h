#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_OPTIMIZER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adagrad (Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online
// Learning and Stochastic Optimization, 2011) as
// tf.compat.v1.train.AdagradOptimizer computes it, with weight decay and
// warm-up added:
//   g   += weight_decay_factor * w
//   acc += g^2
//   w   -= learning_rate * g / sqrt(acc)
// State: acc. It stops at float's largest value instead of becoming infinite,
// so that no gradient freezes a row.
class AdagradOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.05f;
    float initial_accumulator_value = 0.1f;
    float weight_decay_factor = 0;
    double warmup_steps = 0;
  };

  // Type "adagrad": "learning_rate" (default 0.05, at least 0),
  // "initial_accumulator_value" (0.1, above 0: with 0 a gradient of 0 would
  // divide by 0), "weight_decay_factor" (0, at least 0), "warmup_steps" (0, at
  // least 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  // For the optimizers that build on this one: what it reads, and the result.
  static std::vector<ParamSpec> Specs();
  static Params ReadFrom(const std::map<std::string, double>& values);

  explicit AdagradOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_OPTIMIZER_H_
