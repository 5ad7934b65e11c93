#include "monolith/native_training/runtime/hash_table/optimizer/ftrl_with_group_sparsity_optimizer.h"

#include <algorithm>
#include <cmath>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/hash_table/optimizer/group_lasso.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

namespace {

FtrlOptimizer::Params WithoutL1(FtrlOptimizer::Params params) {
  params.l1_regularization = 0;
  return params;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>>
FtrlWithGroupSparsityOptimizer::Create(const OptimizerConfig& config) {
  auto values = ReadParams("optimizer", config, FtrlOptimizer::Specs());
  if (!values.ok()) return values.status();
  return std::make_unique<FtrlWithGroupSparsityOptimizer>(
      FtrlOptimizer::ReadFrom(*values));
}

FtrlWithGroupSparsityOptimizer::FtrlWithGroupSparsityOptimizer(
    const Params& params)
    : params_(params), ftrl_(WithoutL1(params)) {}

int FtrlWithGroupSparsityOptimizer::StateDim(int dim) const {
  return ftrl_.StateDim(dim);
}

void FtrlWithGroupSparsityOptimizer::InitState(absl::Span<float> state) const {
  ftrl_.InitState(state);
}

void FtrlWithGroupSparsityOptimizer::LimitState(
    absl::Span<StateRange> ranges) const {
  ftrl_.LimitState(ranges);
}

void FtrlWithGroupSparsityOptimizer::Update(absl::Span<const float> gradient,
                                            const UpdateContext& context,
                                            absl::Span<float> embedding,
                                            absl::Span<float> state) const {
  ftrl_.Update(gradient, context, embedding, state);
  const double rate = context.learning_rate;
  if (!(rate > 0) || params_.l1_regularization == 0) return;
  const int dim = static_cast<int>(gradient.size());
  const float* const n = state.data();
  const float* const z = n + dim;
  float* const w = embedding.data();
  const double beta = params_.beta;
  const double twice_l2 = 2.0 * params_.l2_regularization;
  const double penalty =
      params_.l1_regularization * std::sqrt(static_cast<double>(dim));
  const auto linear = [=](int i) MONOLITH_INLINE { return double{z[i]}; };
  const auto quadratic = [=](int i) MONOLITH_INLINE {
    return (beta + std::sqrt(double{n[i]})) / rate + twice_l2;
  };
  const double norm = GroupLassoNorm(dim, linear, quadratic, penalty);
  if (norm == 0) {
    std::fill(embedding.begin(), embedding.end(), 0.0f);
    return;
  }
  const double shrink = penalty / norm;
  VectorizedLoop(dim, [=](int i) MONOLITH_INLINE {
    w[i] = ToFinite(static_cast<float>(-linear(i) / (quadratic(i) + shrink)));
  });
}

}  // namespace monolith
