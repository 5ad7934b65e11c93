#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Plain gradient descent, without state, as
// tf.compat.v1.train.GradientDescentOptimizer computes it:
//   w -= learning_rate * g
class SgdOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
  };

  // Type "sgd": "learning_rate" (default 0.01, at least 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit SgdOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_
