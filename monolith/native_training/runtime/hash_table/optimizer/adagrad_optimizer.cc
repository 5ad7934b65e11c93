#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/hash_table/optimizer/warmup.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

std::vector<ParamSpec> AdagradOptimizer::Specs() {
  return {AtLeast(0, "learning_rate", 0.05),
          AtLeast(std::numeric_limits<float>::min(),
                  "initial_accumulator_value", 0.1),
          AtLeast(0, "weight_decay_factor", 0), AtLeast(0, "warmup_steps", 0)};
}

AdagradOptimizer::Params AdagradOptimizer::ReadFrom(
    const std::map<std::string, double>& values) {
  Params params;
  params.learning_rate = values.at("learning_rate");
  params.initial_accumulator_value = values.at("initial_accumulator_value");
  params.weight_decay_factor = values.at("weight_decay_factor");
  params.warmup_steps = values.at("warmup_steps");
  return params;
}

absl::StatusOr<std::unique_ptr<Optimizer>> AdagradOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams("optimizer", config, Specs());
  if (!values.ok()) return values.status();
  return std::make_unique<AdagradOptimizer>(ReadFrom(*values));
}

int AdagradOptimizer::StateDim(int dim) const { return dim; }

void AdagradOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), params_.initial_accumulator_value);
}

void AdagradOptimizer::LimitState(absl::Span<StateRange> ranges) const {
  // A step divides by its root.
  constexpr StateRange kPositive = {std::numeric_limits<float>::min(),
                                    std::numeric_limits<float>::max()};
  std::fill(ranges.begin(), ranges.end(), kPositive);
}

void AdagradOptimizer::Update(absl::Span<const float> gradient,
                              const UpdateContext& context,
                              absl::Span<float> embedding,
                              absl::Span<float> state) const {
  const float* const gradients = gradient.data();
  float* const w = embedding.data();
  float* const acc = state.data();
  const float rate = WarmLearningRate(context, params_.warmup_steps);
  const float decay = params_.weight_decay_factor;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    const float g = ToFinite(gradients[i] + decay * w[i]);
    acc[i] = ToFinite(acc[i] + g * g);
    w[i] = ToFinite(w[i] - rate * (g / std::sqrt(acc[i])));
  });
}

}  // namespace monolith
