// Nanoseconds to parse one example of 3 features, as the movie-ranking model's:
//
//   bazel run
//   //monolith/native_training/runtime/examples:example_parser_benchmark

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/examples/example_bytes.h"
#include "monolith/native_training/runtime/examples/example_parser.h"

namespace monolith {
namespace {

void BM_ParseRatings(benchmark::State& state) {
  const ExampleParser parser =
      *ExampleParser::Create({{"mov", ValueType::kInt64},
                              {"uid", ValueType::kInt64},
                              {"label", ValueType::kFloat, 1}});
  std::vector<std::string> examples;
  for (int64_t i = 0; i < 1024; ++i) {
    examples.push_back(Example({Entry("mov", Int64s({i << 50})),
                                Entry("uid", Int64s({~i << 40})),
                                Entry("label", Floats({4.5}))}));
  }
  const std::vector<FeatureValues> defaults = parser.EmptyValues();
  for (auto _ : state) {
    std::vector<ExampleColumn> columns = parser.EmptyColumns();
    for (const std::string& example : examples) {
      benchmark::DoNotOptimize(
          parser.Parse(example, defaults, absl::MakeSpan(columns)));
    }
  }
  state.SetItemsProcessed(state.iterations() * examples.size());
}
BENCHMARK(BM_ParseRatings);

void BM_ParseManyFeatures(benchmark::State& state) {
  std::vector<FeatureSpec> specs;
  std::string features;
  for (int64_t i = 0; i < state.range(0); ++i) {
    specs.push_back({absl::StrCat("feature_", i), ValueType::kInt64});
    features += Entry(specs.back().name, Int64s({i << 50, i, ~i}));
  }
  const ExampleParser parser = *ExampleParser::Create(specs);
  const std::string example = Delimited(1, features);
  const std::vector<FeatureValues> defaults = parser.EmptyValues();
  for (auto _ : state) {
    std::vector<ExampleColumn> columns = parser.EmptyColumns();
    benchmark::DoNotOptimize(
        parser.Parse(example, defaults, absl::MakeSpan(columns)));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_ParseManyFeatures)->Arg(10)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
