#include "monolith/native_training/runtime/hash_table/optimizer/ftrl_optimizer.h"

#include <algorithm>
#include <cmath>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

std::vector<ParamSpec> FtrlOptimizer::Specs() {
  return {AtLeast(0, "learning_rate", 0.01),
          AtLeast(0, "initial_accumulator_value", 0.1), AtLeast(0, "beta", 0),
          AtLeast(0, "l1_regularization", 0),
          AtLeast(0, "l2_regularization", 0)};
}

FtrlOptimizer::Params FtrlOptimizer::ReadFrom(
    const std::map<std::string, double>& values) {
  Params params;
  params.learning_rate = values.at("learning_rate");
  params.initial_accumulator_value = values.at("initial_accumulator_value");
  params.beta = values.at("beta");
  params.l1_regularization = values.at("l1_regularization");
  params.l2_regularization = values.at("l2_regularization");
  return params;
}

absl::StatusOr<std::unique_ptr<Optimizer>> FtrlOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams("optimizer", config, Specs());
  if (!values.ok()) return values.status();
  return std::make_unique<FtrlOptimizer>(ReadFrom(*values));
}

int FtrlOptimizer::StateDim(int dim) const { return 2 * dim; }

void FtrlOptimizer::InitState(absl::Span<float> state) const {
  const auto middle = state.begin() + state.size() / 2;
  std::fill(state.begin(), middle, params_.initial_accumulator_value);
  std::fill(middle, state.end(), 0.0f);
}

void FtrlOptimizer::LimitState(absl::Span<StateRange> ranges) const {
  std::fill_n(ranges.begin(), ranges.size() / 2, kNotNegative);
}

void FtrlOptimizer::Update(absl::Span<const float> gradient,
                           const UpdateContext& context,
                           absl::Span<float> embedding,
                           absl::Span<float> state) const {
  const float rate = context.learning_rate;
  if (!(rate > 0)) return;
  const float* const g = gradient.data();
  float* const w = embedding.data();
  float* const n = state.data();
  float* const z = n + gradient.size();
  const float l1 = params_.l1_regularization;
  const float fixed = params_.beta / rate + 2 * params_.l2_regularization;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    const float old_root = std::sqrt(n[i]);
    n[i] = ToFinite(n[i] + g[i] * g[i]);
    const float root = std::sqrt(n[i]);
    const float moved = ToFinite((root - old_root) / rate) * w[i];
    z[i] = ToFinite(z[i] + ToFinite(g[i] - moved));
    const float shrunk = std::max(-l1, std::min(l1, z[i])) - z[i];
    const float curvature = root / rate + fixed;
    // It is 0 as long as squares of gradients are too small for a float, and
    // then there is no telling how far to go. What 0 / 0 is is not used.
    const float wanted = curvature > 0 ? ToFinite(shrunk / curvature) : w[i];
    w[i] = shrunk == 0 ? 0 : wanted;
  });
}

}  // namespace monolith
