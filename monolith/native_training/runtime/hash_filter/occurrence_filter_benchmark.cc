// What an occurrence costs and how often the filters of a table err.
//
//   bazel run
//   //monolith/native_training/runtime/hash_filter:occurrence_filter_benchmark

#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/hash_filter/filter_rates.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

constexpr int64_t kPrefetch = 16;

// Occurrences of ids that are new to a full filter (`repeats` 1) or occur
// several times in a row of batches, prefetched as a table does it.
void BM_Admit(benchmark::State& state) {
  const int64_t capacity = state.range(0);
  const int64_t repeats = state.range(1);
  OccurrenceFilter filter(capacity, 1);
  int64_t next = 0;
  const auto hash_at = [&](int64_t i) { return HashId(i / repeats); };
  const auto occur = [&] {
    filter.Prefetch(hash_at(next + kPrefetch));
    auto admitted = filter.Admit(hash_at(next++), 1, 65535);
    benchmark::DoNotOptimize(admitted);
  };
  while (next < 2 * capacity * repeats) occur();
  for (auto unused : state) occur();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Admit)
    ->ArgNames({"capacity", "repeats"})
    ->ArgsProduct({{1 << 17, 1 << 22}, {1, 4}});

void BM_Rates(benchmark::State& state) {
  FilterRates rates{};
  for (auto unused : state) rates = MeasureFilterRates(state.range(0));
  state.counters["early"] = rates.early;
  state.counters["late"] = rates.late;
  state.counters["bytes_per_id"] = rates.bytes_per_id;
}
BENCHMARK(BM_Rates)
    ->ArgName("capacity")
    ->Arg(1 << 17)
    ->Arg(1 << 20)
    ->Arg(1 << 22)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
