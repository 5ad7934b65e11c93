#include "monolith/native_training/runtime/hash_table/optimizer/sgd_optimizer.h"

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/sgd_kernel.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> SgdOptimizer::Create(
    const OptimizerConfig& config) {
  auto params = ReadParams("optimizer", config, {{"learning_rate", 0.01, 0.0}});
  if (!params.ok()) return params.status();
  return std::make_unique<SgdOptimizer>(
      static_cast<float>(params->at("learning_rate")));
}

int SgdOptimizer::StateDim(int /*dim*/) const { return 0; }

void SgdOptimizer::InitState(absl::Span<float> /*state*/) const {}

void SgdOptimizer::Update(absl::Span<const float> gradient,
                          const UpdateContext& context,
                          absl::Span<float> embedding,
                          absl::Span<float> /*state*/) const {
  SgdKernel(gradient.data(), static_cast<int>(gradient.size()),
            context.learning_rate, embedding.data());
}

}  // namespace monolith
