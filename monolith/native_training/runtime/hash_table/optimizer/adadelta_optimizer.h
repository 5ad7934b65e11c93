#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADADELTA_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADADELTA_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adadelta (Zeiler: ADADELTA: An Adaptive Learning Rate Method, 2012) as
// tf.compat.v1.train.AdadeltaOptimizer computes it:
//   acc      = averaging_ratio * acc + (1 - averaging_ratio) * g^2
//   step     = sqrt((acc_step + epsilon) / (acc + epsilon)) * g
//   acc_step = averaging_ratio * acc_step + (1 - averaging_ratio) * step^2
//   w       -= learning_rate * step
// State: acc, then acc_step; both begin at 0.
class AdadeltaOptimizer final : public Optimizer {
 public:
  struct Params {
    float learning_rate = 0.01f;
    float averaging_ratio = 0.9f;
    float epsilon = 0.01f;
  };

  // Type "adadelta": "learning_rate" (default 0.01, at least 0),
  // "averaging_ratio" (0.9, from 0 to below 1), "epsilon" (0.01, above 0).
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit AdadeltaOptimizer(const Params& params) : params_(params) {}

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

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADADELTA_OPTIMIZER_H_
