// What an occurrence costs and how often the filters of a table err.
//
//   bazel run
//   //monolith/native_training/runtime/hash_filter:occurrence_filter_benchmark

#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/hash_filter/filter_rates.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_streams.h"
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

void ReportRates(benchmark::State& state, uint32_t threshold,
                 const std::vector<Occurrence>& stream) {
  FilterRates rates;
  for (auto unused : state) {
    rates = MeasureFilterRates(state.range(0), threshold, stream);
  }
  state.counters["early"] = rates.early_rate();
  state.counters["late"] = rates.late_rate();
  state.counters["remembered"] = static_cast<double>(rates.remembered);
  state.counters["bytes_per_id"] = rates.bytes_per_id;
}

constexpr int64_t kLength = 20;  // times the capacity

void BM_RepeatingBlocks(benchmark::State& state) {
  const auto threshold = static_cast<uint32_t>(state.range(3));
  ReportRates(state, threshold,
              RepeatingBlocks(state.range(0) * state.range(1) / 100,
                              static_cast<int>(state.range(2)), threshold,
                              kLength * state.range(0)));
}
BENCHMARK(BM_RepeatingBlocks)
    ->ArgNames({"capacity", "block_percent", "repeats", "threshold"})
    ->ArgsProduct({{1 << 17, 1 << 20}, {75, 100}, {1, 2, 3}, {2, 5, 1000}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

void BM_RegularsAndStrangers(benchmark::State& state) {
  constexpr uint32_t kThreshold = 1000;
  const int64_t half = state.range(0) * state.range(1) / 200;
  ReportRates(state, kThreshold,
              RegularsAndStrangers(half, half, kThreshold / 2,
                                   2 * kLength * state.range(0)));
}
BENCHMARK(BM_RegularsAndStrangers)
    ->ArgNames({"capacity", "percent"})
    ->ArgsProduct({{1 << 17, 1 << 20}, {75, 100}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

void BM_ZipfAndStrangers(benchmark::State& state) {
  const auto threshold = static_cast<uint32_t>(state.range(1));
  ReportRates(state, threshold,
              ZipfAndStrangers(2 * state.range(0), 1.05, (threshold + 4) / 5,
                               kLength * state.range(0)));
}
BENCHMARK(BM_ZipfAndStrangers)
    ->ArgNames({"capacity", "threshold"})
    ->ArgsProduct({{1 << 17, 1 << 20}, {2, 5, 1000}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
