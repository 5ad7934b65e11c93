// What one update of a row costs each optimizer, without the memory: 64 rows
// that stay in the nearest cache, by instruction set and width.
//
//   tools/bazel run :optimizer_benchmark -- --benchmark_filter=/32$
//
// items_per_second counts rows.

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"
#include "monolith/native_training/runtime/simd/instruction_set.h"

namespace monolith {
namespace {

constexpr int kRows = 64;

void Update(benchmark::State& state, const std::string& type,
            InstructionSet set) {
  const InstructionSet before = ActiveInstructionSet();
  if (!ForceInstructionSet(set)) std::abort();
  const size_t dim = static_cast<size_t>(state.range(0));
  OptimizerConfig config = {type, {}};
  if (type == "ftrl_with_group_sparsity") {
    config.params["l1_regularization"] = 0.1;
  } else if (type == "adagrad_with_group_lasso") {
    config.params["l2_regularization"] = 0.001;
  }
  const auto optimizer = *CreateOptimizer(config);
  const size_t state_dim = optimizer->StateDim(static_cast<int>(dim));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> gradients(kRows * dim), embeddings(kRows * dim);
  for (float& g : gradients) g = normal(random);
  std::vector<float> states(kRows * state_dim);
  for (int row = 0; row < kRows; ++row) {
    optimizer->InitState(
        absl::MakeSpan(states).subspan(row * state_dim, state_dim));
  }
  const UpdateContext context = {0.01f, 0};
  for (auto _ : state) {
    for (int row = 0; row < kRows; ++row) {
      optimizer->Update(
          absl::MakeConstSpan(gradients).subspan(row * dim, dim), context,
          absl::MakeSpan(embeddings).subspan(row * dim, dim),
          absl::MakeSpan(states).subspan(row * state_dim, state_dim));
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows);
  ForceInstructionSet(before);
}

void RegisterAll() {
  for (const std::string& type : OptimizerTypes()) {
    for (InstructionSet set : SupportedInstructionSets()) {
      benchmark::RegisterBenchmark(
          (type + "/" + InstructionSetName(set)).c_str(),
          [=](benchmark::State& state) { Update(state, type, set); })
          ->Arg(8)
          ->Arg(32)
          ->Arg(64);
    }
  }
}

}  // namespace
}  // namespace monolith

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  monolith::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
}
