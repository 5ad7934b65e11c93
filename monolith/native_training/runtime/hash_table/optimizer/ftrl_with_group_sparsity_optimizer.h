#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_WITH_GROUP_SPARSITY_OPTIMIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_WITH_GROUP_SPARSITY_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/ftrl_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// FTRL whose l1 term is on the norm of the whole slice of a row, so that it
// becomes 0 as a whole:
//   n and z as in FtrlOptimizer
//   w = argmin <z, w> + <w, H w> / 2 + l1 * sqrt(dim) * ||w||
//       where H = (beta + sqrt(n)) / learning_rate + 2 * l2
// The group lasso is that of Yuan and Lin (Model selection and estimation in
// regression with grouped variables, 2006), whose factor sqrt(dim) makes one l1
// fit slices of any width; its use in online learning that of Yang, Xu, King,
// Lyu (Online Learning for Group Lasso, 2010). The minimum is found as in
// Duchi, Hazan, Singer (Adaptive Subgradient Methods, 2011), see group_lasso.h.
// With dim = 1, or l1 = 0, it is FtrlOptimizer. State: as FtrlOptimizer's.
class FtrlWithGroupSparsityOptimizer final : public Optimizer {
 public:
  using Params = FtrlOptimizer::Params;

  // Type "ftrl_with_group_sparsity": the parameters of "ftrl".
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const OptimizerConfig& config);

  explicit FtrlWithGroupSparsityOptimizer(const Params& params);

  int StateDim(int dim) const override;
  float default_learning_rate() const override { return params_.learning_rate; }
  void InitState(absl::Span<float> state) const override;
  void LimitState(absl::Span<StateRange> ranges) const override;
  void Update(absl::Span<const float> gradient, const UpdateContext& context,
              absl::Span<float> embedding,
              absl::Span<float> state) const override;

 private:
  const Params params_;
  const FtrlOptimizer ftrl_;  // with an l1 of 0
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FTRL_WITH_GROUP_SPARSITY_OPTIMIZER_H_
