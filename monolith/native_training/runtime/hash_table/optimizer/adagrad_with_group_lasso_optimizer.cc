#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_with_group_lasso_optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/hash_table/optimizer/group_lasso.h"
#include "monolith/native_training/runtime/hash_table/optimizer/warmup.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>>
AdagradWithGroupLassoOptimizer::Create(const OptimizerConfig& config) {
  std::vector<ParamSpec> specs = AdagradOptimizer::Specs();
  specs.push_back(AtLeast(0, "l2_regularization", 0));
  auto values = ReadParams("optimizer", config, specs);
  if (!values.ok()) return values.status();
  Params params;
  params.adagrad = AdagradOptimizer::ReadFrom(*values);
  params.l2_regularization = values->at("l2_regularization");
  return std::make_unique<AdagradWithGroupLassoOptimizer>(params);
}

int AdagradWithGroupLassoOptimizer::StateDim(int dim) const {
  return adagrad_.StateDim(dim);
}

void AdagradWithGroupLassoOptimizer::InitState(absl::Span<float> state) const {
  adagrad_.InitState(state);
}

void AdagradWithGroupLassoOptimizer::LimitState(
    absl::Span<StateRange> ranges) const {
  adagrad_.LimitState(ranges);
}

void AdagradWithGroupLassoOptimizer::Update(absl::Span<const float> gradient,
                                            const UpdateContext& context,
                                            absl::Span<float> embedding,
                                            absl::Span<float> state) const {
  adagrad_.Update(gradient, context, embedding, state);
  const int dim = static_cast<int>(gradient.size());
  const double penalty =
      double{WarmLearningRate(context, params_.adagrad.warmup_steps)} *
      params_.l2_regularization * std::sqrt(static_cast<double>(dim));
  if (!(penalty > 0)) return;
  float* const w = embedding.data();
  const float* const acc = state.data();
  const auto quadratic = [=](int i) MONOLITH_INLINE {
    return std::sqrt(double{acc[i]});
  };
  const auto linear = [=](int i)
                          MONOLITH_INLINE { return -quadratic(i) * w[i]; };
  const double norm = GroupLassoNorm(dim, linear, quadratic, penalty);
  if (norm == 0) {
    std::fill(embedding.begin(), embedding.end(), 0.0f);
    return;
  }
  const double shrink = penalty / norm;
  VectorizedLoop(dim, [=](int i) MONOLITH_INLINE {
    const double h = quadratic(i);
    w[i] = static_cast<float>(w[i] * (h / (h + shrink)));
  });
}

}  // namespace monolith
