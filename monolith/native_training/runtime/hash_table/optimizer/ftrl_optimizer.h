#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_OPTIMIZER_H_

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

// FTRL-Proximal (McMahan et al.: Ad Click Prediction: a View from the Trenches,
// 2013) as tf.compat.v1.train.FtrlOptimizer(learning_rate_power=-0.5) computes
// it:
//   n' = n + g^2
//   z += g - (sqrt(n') - sqrt(n)) / learning_rate * w
//   n  = n'
//   w  = 0 where |z| <= l1, and elsewhere
//        (sign(z) * l1 - z) / ((beta + sqrt(n)) / learning_rate + 2 * l2)
// As in TensorFlow, l2 is the factor of w^2 (the paper's is that of w^2 / 2),
// and the first update replaces a row's initial value, of which it keeps but 1
// - sqrt(n / n'): with a gradient of 0 the row becomes 0. With a learning rate
// of 0 nothing changes. State: n, then z, which begins at 0.
class FtrlOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float initial_accumulator_value = 0.1f;
    float beta = 0;
    float l1_regularization = 0;
    float l2_regularization = 0;
  };

  // Type "ftrl": "learning_rate" (default 0.01, at least 0),
  // "initial_accumulator_value" (0.1), "beta" (0), "l1_regularization" (0),
  // "l2_regularization" (0), all at least 0.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  // For the optimizer that builds on this one: what it reads, and the result.
  static std::vector<ParamSpec> Specs();
  static Params ReadFrom(const std::map<std::string, double>& values);

  explicit FtrlOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_OPTIMIZER_H_
