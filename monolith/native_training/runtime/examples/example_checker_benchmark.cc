// Nanoseconds to check one example of 3 features, as the movie-ranking model's:
//
//   bazel run
//   //monolith/native_training/runtime/examples:example_checker_benchmark

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/examples/example_bytes.h"
#include "monolith/native_training/runtime/examples/example_checker.h"

namespace monolith {
namespace {

void BM_CheckRating(benchmark::State& state) {
  const ExampleChecker checker =
      *ExampleChecker::Create({{"mov", ValueType::kInt64},
                               {"uid", ValueType::kInt64},
                               {"label", ValueType::kFloat, 1, true}});
  std::vector<std::string> examples;
  for (int64_t i = 0; i < 1024; ++i) {
    examples.push_back(Example({Entry("mov", Int64s({i << 50})),
                                Entry("uid", Int64s({~i << 40})),
                                Entry("label", Floats({4.5}))}));
  }
  for (auto _ : state) {
    for (const std::string& example : examples) {
      benchmark::DoNotOptimize(checker.Check(example));
    }
  }
  state.SetItemsProcessed(state.iterations() * examples.size());
}
BENCHMARK(BM_CheckRating);

void BM_CheckManyFeatures(benchmark::State& state) {
  std::vector<FeatureSpec> specs;
  std::string features;
  for (int64_t i = 0; i < state.range(0); ++i) {
    specs.push_back({absl::StrCat("feature_", i), ValueType::kInt64});
    features += Entry(specs.back().name, Int64s({i << 50, i, ~i}));
  }
  const ExampleChecker checker = *ExampleChecker::Create(specs);
  const std::string example = Delimited(1, features);
  for (auto _ : state) benchmark::DoNotOptimize(checker.Check(example));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_CheckManyFeatures)->Arg(10)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
