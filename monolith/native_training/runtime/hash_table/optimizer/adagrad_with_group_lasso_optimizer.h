#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_WITH_GROUP_LASSO_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_WITH_GROUP_LASSO_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Adagrad with a penalty on the norm of the whole slice of a row, so that it
// becomes 0 as a whole:
//   u = w after the step of AdagradOptimizer
//   w = argmin <w - u, H (w - u)> / 2 +
//              learning_rate * l2_regularization * sqrt(dim) * ||w||
//       where H = sqrt(acc)
// It is the composite mirror descent of Duchi, Hazan, Singer (Adaptive
// Subgradient Methods for Online Learning and Stochastic Optimization, 2011,
// section 5) with the group lasso of Yuan and Lin (Model selection and
// estimation in regression with grouped variables, 2006), whose factor
// sqrt(dim) makes one value fit slices of any width; see group_lasso.h. With
// l2_regularization = 0 it is AdagradOptimizer. State: as AdagradOptimizer's.
class AdagradWithGroupLassoOptimizer final : public Optimizer {
 public:
  struct Params {
    AdagradOptimizer::Params adagrad;
    float l2_regularization = 0;
  };

  // Type "adagrad_with_group_lasso": the parameters of "adagrad", and
  // "l2_regularization" (0, at least 0), named for the norm, which is not
  // squared.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit AdagradWithGroupLassoOptimizer(const Params& params)
      : params_(params), adagrad_(params.adagrad) {}

  int StateDim(int dim) const override;
  float default_learning_rate() const override {
    return params_.adagrad.learning_rate;
  }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> ranges) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
  const AdagradOptimizer adagrad_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_WITH_GROUP_LASSO_OPTIMIZER_H_
