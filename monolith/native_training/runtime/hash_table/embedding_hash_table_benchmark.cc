// How fast the table reads and trains, beside the ceiling: a random gather of
// rows from a plain array of the same size, with prefetching as well.
//
//   tools/bazel run :embedding_hash_table_benchmark --
//   --benchmark_filter=ids:10000000
//
// Arguments: number of ids, dim, batch, threads. items_per_second counts ids.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {
namespace {

constexpr int kBatches = 16;  // different ones, taken in turn

int64_t NthId(int64_t n) {
  return static_cast<int64_t>(MixBits(static_cast<uint64_t>(n)));
}

TableConfig Config(int dim, const char* optimizer) {
  TableConfig config;
  config.name = "benchmark";
  SegmentConfig segment;
  segment.name = "vec";
  segment.dim = dim;
  segment.optimizer.type = optimizer;
  config.segments.push_back(segment);
  return config;
}

// One table is kept from benchmark to benchmark, as filling it takes seconds.
EmbeddingHashTable& FilledTable(int64_t num_ids, int dim,
                                const char* optimizer) {
  static std::tuple<int64_t, int, std::string> key;
  static std::unique_ptr<EmbeddingHashTable> table;
  const std::tuple<int64_t, int, std::string> wanted(num_ids, dim, optimizer);
  if (key == wanted) return *table;
  key = wanted;
  table.reset();
  table = *EmbeddingHashTable::Create(Config(dim, optimizer));
  constexpr int64_t kFillBatch = 65536;
  std::vector<int64_t> ids;
  std::vector<float> zeros(kFillBatch * dim);
  for (int64_t begin = 0; begin < num_ids; begin += kFillBatch) {
    ids.clear();
    for (int64_t i = begin; i < std::min(num_ids, begin + kFillBatch); ++i) {
      ids.push_back(NthId(i));
    }
    const auto values = absl::MakeConstSpan(zeros).subspan(0, ids.size() * dim);
    if (!table->AssignAdd(ids, values, 0).ok()) std::abort();
  }
  return *table;
}

// The same numbers in [0, num_ids) for every benchmark of one size.
std::vector<std::vector<int64_t>> MakeBatches(int64_t num_ids, int64_t batch) {
  std::mt19937_64 random(42);
  std::vector<std::vector<int64_t>> batches(kBatches);
  for (auto& numbers : batches) {
    for (int64_t i = 0; i < batch; ++i) {
      numbers.push_back(static_cast<int64_t>(ReduceToRange(random(), num_ids)));
    }
  }
  return batches;
}

std::vector<std::vector<int64_t>> MakeIdBatches(int64_t num_ids,
                                                int64_t batch) {
  auto batches = MakeBatches(num_ids, batch);
  for (auto& numbers : batches) {
    for (int64_t& number : numbers) number = NthId(number);
  }
  return batches;
}

void RawGather(benchmark::State& state) {
  const int64_t num_ids = state.range(0);
  const size_t dim = static_cast<size_t>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(3)));
  const size_t bytes = dim * sizeof(float);
  auto memory =
      ZeroedMemory::Create(num_ids * bytes, ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return state.SkipWithError("no memory");
  float* const rows = static_cast<float*>(memory->data());
  std::memset(rows, 1, num_ids * bytes);
  const auto batches = MakeBatches(num_ids, batch);
  std::vector<float> values(batch * dim);
  constexpr int64_t kChunk = 4096;
  int next = 0;
  for (auto _ : state) {
    const auto& numbers = batches[next++ % kBatches];
    executor.ParallelFor((batch + kChunk - 1) / kChunk, [&](int64_t chunk) {
      const int64_t begin = chunk * kChunk;
      const size_t n = static_cast<size_t>(std::min(kChunk, batch - begin));
      const int64_t* const chosen = numbers.data() + begin;
      float* const out = values.data() + begin * dim;
      // Groups of prefetches, then of copies, are the fastest of those tried.
      for (size_t group = 0; group < n + kPrefetchDistance;
           group += kPrefetchDistance) {
        for (size_t i = group; i < std::min(group + kPrefetchDistance, n);
             ++i) {
          PrefetchBlock<false>(rows + chosen[i] * dim, bytes);
        }
        if (group == 0) continue;
        for (size_t i = group - kPrefetchDistance; i < std::min(group, n);
             ++i) {
          std::memcpy(out + i * dim, rows + chosen[i] * dim, bytes);
        }
      }
    });
    benchmark::DoNotOptimize(values.data());
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void Lookup(benchmark::State& state, const char* optimizer, double hit_rate) {
  const int64_t num_ids = state.range(0);
  const int dim = static_cast<int>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(3)));
  const EmbeddingHashTable& table = FilledTable(num_ids, dim, optimizer);
  const auto batches =
      MakeIdBatches(static_cast<int64_t>(num_ids / hit_rate), batch);
  std::vector<float> values(batch * dim);
  int next = 0;
  for (auto _ : state) {
    const absl::Status status = table.Lookup(
        batches[next++ % kBatches], EmbeddingHashTable::MissingId::kZero,
        absl::MakeSpan(values), executor);
    if (!status.ok()) state.SkipWithError(status.ToString().c_str());
  }
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["bytes_per_id"] =
      static_cast<double>(table.memory_bytes()) / table.size();
}

void Train(benchmark::State& state, const char* optimizer) {
  const int64_t num_ids = state.range(0);
  const int dim = static_cast<int>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(3)));
  EmbeddingHashTable& table = FilledTable(num_ids, dim, optimizer);
  const auto batches = MakeIdBatches(num_ids, batch);
  const std::vector<float> gradients(batch * dim, 0.01f);
  int next = 0;
  for (auto _ : state) {
    const absl::Status status = table.ApplyGradients(batches[next++ % kBatches],
                                                     gradients, {}, executor);
    if (!status.ok()) state.SkipWithError(status.ToString().c_str());
  }
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["bytes_per_id"] =
      static_cast<double>(table.memory_bytes()) / table.size();
}

void Sweep(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"ids", "dim", "batch", "threads"});
  for (int64_t ids : {1000000, 10000000}) {
    for (int64_t batch : {1024, 65536}) {
      for (int64_t threads : {1, 2}) {
        benchmark->Args({ids, 32, batch, threads});
      }
    }
  }
  benchmark->Args({1000000, 8, 65536, 2})->Args({1000000, 64, 65536, 2});
  benchmark->UseRealTime();
}

BENCHMARK(RawGather)->Apply(Sweep);
BENCHMARK_CAPTURE(Lookup, sgd_all_hit, "sgd", 1.0)->Apply(Sweep);
BENCHMARK_CAPTURE(Lookup, sgd_half_hit, "sgd", 0.5)->Apply(Sweep);
BENCHMARK_CAPTURE(Lookup, adagrad_all_hit, "adagrad", 1.0)->Apply(Sweep);
BENCHMARK_CAPTURE(Train, adagrad, "adagrad")->Apply(Sweep);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
