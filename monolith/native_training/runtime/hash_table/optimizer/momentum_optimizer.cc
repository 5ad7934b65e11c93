#include "monolith/native_training/runtime/hash_table/optimizer/momentum_optimizer.h"

#include <algorithm>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> MomentumOptimizer::Create(
    const OptimizerConfig& config) {
  auto values =
      ReadParams("optimizer", config,
                 {AtLeast(0, "learning_rate", 0.01), Fraction("momentum", 0.9),
                  Flag("use_nesterov", false)});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = values->at("learning_rate");
  params.momentum = values->at("momentum");
  params.use_nesterov = values->at("use_nesterov") != 0;
  return std::make_unique<MomentumOptimizer>(params);
}

int MomentumOptimizer::StateDim(int dim) const { return dim; }

void MomentumOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), 0.0f);
}

void MomentumOptimizer::Update(absl::Span<const float> gradient,
                               const UpdateContext& context,
                               absl::Span<float> embedding,
                               absl::Span<float> state) const {
  const float* const g = gradient.data();
  float* const w = embedding.data();
  float* const m = state.data();
  const float rate = context.learning_rate;
  const float momentum = params_.momentum;
  // The step is from_m * m + from_g * g.
  const float from_m = params_.use_nesterov ? momentum * rate : rate;
  const float from_g = params_.use_nesterov ? rate : 0;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    m[i] = ToFinite(m[i] * momentum + g[i]);
    w[i] = ToFinite(w[i] - ToFinite(from_g * g[i] + from_m * m[i]));
  });
}

}  // namespace monolith
