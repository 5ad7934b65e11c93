#include "monolith/native_training/runtime/hash_table/optimizer/rmsprop_optimizer.h"

#include <algorithm>
#include <cmath>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> RmspropOptimizer::Create(
    const OptimizerConfig& config) {
  auto values =
      ReadParams("optimizer", config,
                 {AtLeast(0, "learning_rate", 0.01), Fraction("momentum", 0.9),
                  Above(0, "epsilon", 1e-7)});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = values->at("learning_rate");
  params.momentum = values->at("momentum");
  params.epsilon = values->at("epsilon");
  return std::make_unique<RmspropOptimizer>(params);
}

int RmspropOptimizer::StateDim(int dim) const { return dim; }

void RmspropOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), 0.0f);
}

void RmspropOptimizer::LimitState(absl::Span<StateRange> ranges) const {
  std::fill(ranges.begin(), ranges.end(), kNotNegative);
}

void RmspropOptimizer::Update(absl::Span<const float> gradient,
                              const UpdateContext& context,
                              absl::Span<float> embedding,
                              absl::Span<float> state) const {
  const float* const g = gradient.data();
  float* const w = embedding.data();
  float* const v = state.data();
  const float rate = context.learning_rate;
  const float old_part = params_.momentum;
  const float new_part = 1 - old_part;
  const float epsilon = params_.epsilon;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    v[i] = ToFinite(v[i] * old_part + g[i] * g[i] * new_part);
    w[i] = ToFinite(w[i] - rate * g[i] / std::sqrt(v[i] + epsilon));
  });
}

}  // namespace monolith
