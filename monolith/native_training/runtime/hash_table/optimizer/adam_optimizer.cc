#include "monolith/native_training/runtime/hash_table/optimizer/adam_optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/bias_correction.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> AdamOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams(
      "optimizer", config,
      {AtLeast(0, "learning_rate", 0.01), Fraction("beta1", 0.9),
       Fraction("beta2", 0.99), Above(0, "epsilon", 0.01),
       Flag("use_nesterov", false), AtLeast(0, "weight_decay_factor", 0)});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = values->at("learning_rate");
  params.beta1 = values->at("beta1");
  params.beta2 = values->at("beta2");
  params.epsilon = values->at("epsilon");
  params.use_nesterov = values->at("use_nesterov") != 0;
  params.weight_decay_factor = values->at("weight_decay_factor");
  return std::make_unique<AdamOptimizer>(params);
}

int AdamOptimizer::StateDim(int dim) const {
  return 2 * dim + BiasCorrection::kStateDim;
}

void AdamOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), 0.0f);
}

void AdamOptimizer::LimitState(absl::Span<StateRange> ranges) const {
  const size_t dim = (ranges.size() - BiasCorrection::kStateDim) / 2;
  std::fill_n(ranges.begin() + dim, dim, kNotNegative);
  BiasCorrection::LimitState(ranges.subspan(2 * dim));
}

void AdamOptimizer::Update(absl::Span<const float> gradient,
                           const UpdateContext& context,
                           absl::Span<float> embedding,
                           absl::Span<float> state) const {
  const size_t dim = gradient.size();
  const float* const gradients = gradient.data();
  float* const w = embedding.data();
  float* const m = state.data();
  float* const v = m + dim;
  const float new_m = 1 - params_.beta1;
  const float new_v = 1 - params_.beta2;
  const float rate = BiasCorrection::NextLearningRate(context.learning_rate,
                                                      new_m, new_v, v + dim);
  const float decay = params_.weight_decay_factor;
  const float epsilon = params_.epsilon;
  // The direction is from_m * m + from_g * g.
  const float from_m = params_.use_nesterov ? params_.beta1 : 1;
  const float from_g = params_.use_nesterov ? new_m : 0;
  VectorizedLoop(static_cast<int>(dim), [=](int i) MONOLITH_INLINE {
    const float g = ToFinite(gradients[i] + decay * w[i]);
    m[i] = ToFinite(m[i] + (g - m[i]) * new_m);
    v[i] = ToFinite(v[i] + (g * g - v[i]) * new_v);
    const float direction = ToFinite(from_m * m[i] + from_g * g);
    w[i] = ToFinite(w[i] - rate * direction / (std::sqrt(v[i]) + epsilon));
  });
}

}  // namespace monolith
