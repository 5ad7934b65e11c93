#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Plain gradient descent, without state: w -= learning_rate * g.
class SgdOptimizer final : public Optimizer {
 public:
  // Type "sgd": "learning_rate" (default 0.01, at least 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit SgdOptimizer(float learning_rate) : learning_rate_(learning_rate) {}

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return learning_rate_; }
  void InitState(absl::Span<float> state) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const float learning_rate_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_OPTIMIZER_H_
