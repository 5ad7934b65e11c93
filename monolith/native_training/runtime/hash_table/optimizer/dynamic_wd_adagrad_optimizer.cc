#include "monolith/native_training/runtime/hash_table/optimizer/dynamic_wd_adagrad_optimizer.h"

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/hash_table/optimizer/warmup.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

namespace {

AdagradOptimizer::Params WithoutDecay(AdagradOptimizer::Params params) {
  params.weight_decay_factor = 0;
  return params;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> DynamicWdAdagradOptimizer::Create(
    const OptimizerConfig& config) {
  auto values = ReadParams("optimizer", config, AdagradOptimizer::Specs());
  if (!values.ok()) return values.status();
  return std::make_unique<DynamicWdAdagradOptimizer>(
      AdagradOptimizer::ReadFrom(*values));
}

DynamicWdAdagradOptimizer::DynamicWdAdagradOptimizer(const Params& params)
    : params_(params), adagrad_(WithoutDecay(params)) {}

int DynamicWdAdagradOptimizer::StateDim(int dim) const {
  return adagrad_.StateDim(dim);
}

void DynamicWdAdagradOptimizer::InitState(absl::Span<float> state) const {
  adagrad_.InitState(state);
}

void DynamicWdAdagradOptimizer::LimitState(
    absl::Span<StateRange> ranges) const {
  adagrad_.LimitState(ranges);
}

void DynamicWdAdagradOptimizer::Update(absl::Span<const float> gradient,
                                       const UpdateContext& context,
                                       absl::Span<float> embedding,
                                       absl::Span<float> state) const {
  const float rate = WarmLearningRate(context, params_.warmup_steps);
  const float decay = params_.weight_decay_factor;
  float* const w = embedding.data();
  if (decay > 0) {
    const int dim = static_cast<int>(gradient.size());
    VectorizedLoop(dim, [=](int i) MONOLITH_INLINE {
      w[i] = ToFinite(w[i] - w[i] * decay * rate);
    });
  }
  adagrad_.Update(gradient, context, embedding, state);
}

}  // namespace monolith
