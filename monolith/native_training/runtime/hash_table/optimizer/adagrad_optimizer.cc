#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"

#include <algorithm>
#include <limits>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_kernel.h"
#include "monolith/native_training/runtime/hash_table/optimizer/warmup.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Optimizer>> AdagradOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams(
      "optimizer", config,
      {{"learning_rate", 0.05, 0.0},
       {"initial_accumulator_value", 0.1, std::numeric_limits<float>::min()},
       {"weight_decay_factor", 0.0, 0.0},
       {"warmup_steps", 0.0, 0.0}});
  if (!values.ok()) return values.status();
  Params params;
  params.learning_rate = static_cast<float>(values->at("learning_rate"));
  params.initial_accumulator_value =
      static_cast<float>(values->at("initial_accumulator_value"));
  params.weight_decay_factor =
      static_cast<float>(values->at("weight_decay_factor"));
  params.warmup_steps = values->at("warmup_steps");
  return std::make_unique<AdagradOptimizer>(params);
}

int AdagradOptimizer::StateDim(int dim) const { return dim; }

void AdagradOptimizer::InitState(absl::Span<float> state) const {
  std::fill(state.begin(), state.end(), params_.initial_accumulator_value);
}

void AdagradOptimizer::Update(absl::Span<const float> gradient,
                              const UpdateContext& context,
                              absl::Span<float> embedding,
                              absl::Span<float> state) const {
  AdagradKernel(gradient.data(), static_cast<int>(gradient.size()),
                WarmLearningRate(context, params_.warmup_steps),
                params_.weight_decay_factor, embedding.data(), state.data());
}

}  // namespace monolith
