#include "monolith/native_training/runtime/hash_table/optimizer/moving_average_optimizer.h"

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> MovingAverageOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams("optimizer", config, {Fraction("momentum", 0.9)});
  if (!values.ok()) return values.status();
  Params params;
  params.momentum = values->at("momentum");
  return std::make_unique<MovingAverageOptimizer>(params);
}

int MovingAverageOptimizer::StateDim(int /*dim*/) const { return 0; }

void MovingAverageOptimizer::InitState(absl::Span<float> /*state*/) const {}

void MovingAverageOptimizer::Update(absl::Span<const float> gradient,
                                    const UpdateContext& /*context*/,
                                    absl::Span<float> embedding,
                                    absl::Span<float> /*state*/) const {
  const float* const g = gradient.data();
  float* const w = embedding.data();
  const float new_part = 1 - params_.momentum;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    w[i] = ToFinite(w[i] - (w[i] - g[i]) * new_part);
  });
}

}  // namespace monolith
