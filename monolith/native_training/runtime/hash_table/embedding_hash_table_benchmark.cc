// How fast the table reads and trains, beside the ceiling: a random gather of
// rows from a plain array of the same size, with prefetching as well, and
// beside one without.
//
//   tools/bazel run :embedding_hash_table_benchmark --
//   --benchmark_filter='uniform/ids:10000000/dim:32/batch:65536'
//
// Arguments: number of ids, dim, batch, how many of 100 ids have a row,
// threads. items_per_second counts ids. All of them take about ten minutes and
// 6 GB.

#include <algorithm>
#include <cmath>
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
#include "monolith/native_training/runtime/hash_table/prefetch.h"
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

enum class Draw { kUniform, kZipf };

constexpr double kZipfExponent = 1.05;

// Entry r: the mass of ranks up to r, of which rank r has r^-1.05. One is kept.
const std::vector<double>& ZipfMass(int64_t num_ids) {
  static std::vector<double> mass;
  if (static_cast<int64_t>(mass.size()) == num_ids) return mass;
  mass.resize(static_cast<size_t>(num_ids));
  double sum = 0;
  for (size_t rank = 0; rank < mass.size(); ++rank) {
    sum += std::pow(static_cast<double>(rank + 1), -kZipfExponent);
    mass[rank] = sum;
  }
  return mass;
}

// The same numbers for every benchmark of these arguments. Rows have numbers
// from 0 to num_ids - 1; of 100 numbers, 100 - hit_percent are higher.
std::vector<std::vector<int64_t>> MakeBatches(Draw draw, int64_t num_ids,
                                              int64_t batch,
                                              int64_t hit_percent) {
  std::mt19937_64 random(42);
  const auto next = [&]() -> int64_t {
    if (draw == Draw::kUniform) {
      return static_cast<int64_t>(ReduceToRange(random(), num_ids));
    }
    const std::vector<double>& mass = ZipfMass(num_ids);
    const double drawn =
        std::uniform_real_distribution<double>(0, mass.back())(random);
    const int64_t rank =
        std::lower_bound(mass.begin(), mass.end(), drawn) - mass.begin();
    // Frequent rows are not neighbours.
    return static_cast<int64_t>(
        ReduceToRange(MixBits(static_cast<uint64_t>(rank)), num_ids));
  };
  std::vector<std::vector<int64_t>> batches(kBatches);
  for (auto& numbers : batches) {
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t number = next();
      const bool has_row =
          static_cast<int64_t>(ReduceToRange(random(), 100)) < hit_percent;
      numbers.push_back(has_row ? number : number + num_ids);
    }
  }
  return batches;
}

std::vector<std::vector<int64_t>> MakeIdBatches(Draw draw,
                                                const benchmark::State& state) {
  auto batches =
      MakeBatches(draw, state.range(0), state.range(2), state.range(3));
  for (auto& numbers : batches) {
    for (int64_t& number : numbers) number = NthId(number);
  }
  return batches;
}

// Copies rows `chosen` one after the other, as tf.gather does.
void CopyRows(const float* rows, size_t dim, absl::Span<const int64_t> chosen,
              float* values) {
  for (size_t i = 0; i < chosen.size(); ++i) {
    std::memcpy(values + i * dim, rows + static_cast<size_t>(chosen[i]) * dim,
                dim * sizeof(float));
  }
}

// The same, as fast as we know how: groups of prefetches, then of copies.
void PrefetchAndCopyRows(const float* rows, size_t dim,
                         absl::Span<const int64_t> chosen, float* values) {
  constexpr size_t kGroup = 32;
  const size_t n = chosen.size();
  for (size_t begin = 0; begin < n + kGroup; begin += kGroup) {
    for (size_t i = begin; i < std::min(begin + kGroup, n); ++i) {
      PrefetchBlock(rows + static_cast<size_t>(chosen[i]) * dim,
                    dim * sizeof(float));
    }
    if (begin == 0) continue;
    const size_t last = begin - kGroup;
    CopyRows(rows, dim, chosen.subspan(last, std::min(begin, n) - last),
             values + last * dim);
  }
}

// A gather from a plain array by the given loop.
template <typename Gather>
void RawGather(benchmark::State& state, Draw draw, Gather gather) {
  const int64_t num_ids = state.range(0);
  const size_t dim = static_cast<size_t>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(4)));
  const size_t bytes = dim * sizeof(float);
  auto memory =
      ZeroedMemory::Create(num_ids * bytes, ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return state.SkipWithError("no memory");
  float* const rows = static_cast<float*>(memory->data());
  std::memset(rows, 1, num_ids * bytes);
  const auto batches = MakeBatches(draw, num_ids, batch, 100);
  std::vector<float> values(batch * dim);
  constexpr int64_t kChunk = 4096;
  int next = 0;
  for (auto _ : state) {
    const absl::Span<const int64_t> numbers = batches[next++ % kBatches];
    executor.ParallelFor((batch + kChunk - 1) / kChunk, [&](int64_t chunk) {
      const size_t begin = static_cast<size_t>(chunk * kChunk);
      gather(rows, dim, numbers.subspan(begin, kChunk),
             values.data() + begin * dim);
    });
    benchmark::DoNotOptimize(values.data());
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void Lookup(benchmark::State& state, const char* optimizer, Draw draw) {
  const int64_t num_ids = state.range(0);
  const int dim = static_cast<int>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(4)));
  const EmbeddingHashTable& table = FilledTable(num_ids, dim, optimizer);
  const auto batches = MakeIdBatches(draw, state);
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

void Train(benchmark::State& state, const char* optimizer, Draw draw) {
  const int64_t num_ids = state.range(0);
  const int dim = static_cast<int>(state.range(1));
  const int64_t batch = state.range(2);
  ThreadPoolExecutor executor(static_cast<int>(state.range(4)));
  EmbeddingHashTable& table = FilledTable(num_ids, dim, optimizer);
  const auto batches = MakeIdBatches(draw, state);
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

// Table by table, as one is kept.
void RegisterAll() {
  struct Named {
    const char* name;
    Draw draw;
  };
  for (int64_t ids : {1000000, 10000000}) {
    for (int64_t dim : {8, 32, 64}) {
      const auto sweep = [&](const std::string& name, auto run,
                             std::vector<int64_t> hit_percents) {
        auto* const benchmark = benchmark::RegisterBenchmark(name.c_str(), run);
        benchmark->ArgNames({"ids", "dim", "batch", "hit", "threads"});
        benchmark->UseRealTime();
        for (int64_t batch : {1024, 16384, 65536}) {
          for (int64_t hit : hit_percents) {
            for (int64_t threads : {1, 2}) {
              benchmark->Args({ids, dim, batch, hit, threads});
            }
          }
        }
      };
      const std::vector<Named> draws = {{"uniform", Draw::kUniform},
                                        {"zipf", Draw::kZipf}};
      const auto named = [](const char* what, const Named& named) {
        return std::string(what) + "/" + named.name;
      };
      for (const Named& d : draws) {
        sweep(named("RawGather", d),
              [d](benchmark::State& state) {
                RawGather(state, d.draw, PrefetchAndCopyRows);
              },
              {100});
        sweep(named("PlainGather", d),
              [d](benchmark::State& state) {
                RawGather(state, d.draw, CopyRows);
              },
              {100});
      }
      for (const Named& d : draws) {
        sweep(named("Lookup", d),
              [d](benchmark::State& state) { Lookup(state, "sgd", d.draw); },
              {100, 90, 50});
      }
      for (const Named& d : draws) {
        sweep(named("TrainAdagrad", d),
              [d](benchmark::State& state) { Train(state, "adagrad", d.draw); },
              {100});
      }
    }
  }
}

}  // namespace
}  // namespace monolith

int main(int argc, char** argv) {
  monolith::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
