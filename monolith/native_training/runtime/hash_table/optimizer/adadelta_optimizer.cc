#include "monolith/native_training/runtime/hash_table/optimizer/adadelta_optimizer.h"

#include <algorithm>
#include <cmath>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> AdadeltaOptimizer::Create(
    const OptimizerConfig& config) {
  auto values =
      ReadParams("optimizer", config,
                 {AtLeast(0, "learning_rate", 0.01),
                  Fraction("averaging_ratio", 0.9), Above(0, "epsilon", 0.01)});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = values->at("learning_rate");
  params.averaging_ratio = values->at("averaging_ratio");
  params.epsilon = values->at("epsilon");
  return std::make_unique<AdadeltaOptimizer>(params);
}

int AdadeltaOptimizer::StateDim(int dim) const { return 2 * dim; }

void AdadeltaOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), 0.0f);
}

void AdadeltaOptimizer::LimitState(absl::Span<StateRange> ranges) const {
  std::fill(ranges.begin(), ranges.end(), kNotNegative);
}

void AdadeltaOptimizer::Update(absl::Span<const float> gradient,
                               const UpdateContext& context,
                               absl::Span<float> embedding,
                               absl::Span<float> state) const {
  const float* const g = gradient.data();
  float* const w = embedding.data();
  float* const acc = state.data();
  float* const acc_step = acc + gradient.size();
  const float rate = context.learning_rate;
  const float old_part = params_.averaging_ratio;
  const float new_part = 1 - old_part;
  const float epsilon = params_.epsilon;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    acc[i] = ToFinite(acc[i] * old_part + g[i] * g[i] * new_part);
    const float step = ToFinite(
        std::sqrt((acc_step[i] + epsilon) / (acc[i] + epsilon)) * g[i]);
    acc_step[i] = ToFinite(acc_step[i] * old_part + step * step * new_part);
    w[i] = ToFinite(w[i] - rate * step);
  });
}

}  // namespace monolith
