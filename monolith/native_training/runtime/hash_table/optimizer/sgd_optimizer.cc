#include "monolith/native_training/runtime/hash_table/optimizer/sgd_optimizer.h"

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> SgdOptimizer::Create(
    const OptimizerConfig& config) {
  auto values =
      ReadParams("optimizer", config, {AtLeast(0, "learning_rate", 0.01)});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = values->at("learning_rate");
  return std::make_unique<SgdOptimizer>(params);
}

int SgdOptimizer::StateDim(int /*dim*/) const { return 0; }

void SgdOptimizer::InitState(absl::Span<float> /*state*/) const {}

void SgdOptimizer::Update(absl::Span<const float> gradient,
                          const UpdateContext& context,
                          absl::Span<float> embedding,
                          absl::Span<float> /*state*/) const {
  const float* const g = gradient.data();
  float* const w = embedding.data();
  const float rate = context.learning_rate;
  VectorizedLoop(static_cast<int>(gradient.size()), [=](int i) MONOLITH_INLINE {
    w[i] = ToFinite(w[i] - rate * g[i]);
  });
}

}  // namespace monolith
