// What a worker spends on ids and rows of a batch: two features with one id
// per example, each with a table of its own, rows of dim 32, two shards.
//
// bazel run //monolith/native_training/runtime/batch:batch_benchmark
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/batch/id_sharder.h"
#include "monolith/native_training/runtime/batch/pool.h"
#include "monolith/native_training/runtime/batch/pool_gradient.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

constexpr int kFeatures = 2;
constexpr int kShards = 2;
constexpr int64_t kDim = 32;

// A few ids are frequent, most are rare, as in real batches.
std::vector<int64_t> SkewedIds(int64_t n, int seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<int64_t> ids(n);
  for (int64_t& id : ids) {
    id = static_cast<int64_t>(std::pow(200000.0, uniform(random))) * 7919;
  }
  return ids;
}

struct Batch {
  explicit Batch(int64_t batch_size)
      : sharder(*IdSharder::Create({kShards, {0, 1}, {kDim, kDim}})),
        index(kFeatures * batch_size) {
    for (int f = 0; f < kFeatures; ++f) ids.push_back(SkewedIds(batch_size, f));
    for (int64_t i = 0; i <= batch_size; ++i) splits.push_back(i);
    id_spans.assign(ids.begin(), ids.end());
    Shard(InlineExecutor::Get());
    for (int s = 0; s < kShards; ++s) {
      values.emplace_back((sharder.RequestSize(s) - kFeatures) * kDim, 0.5f);
    }
    for (int f = 0; f < kFeatures; ++f) {
      slices.push_back({"vec", f, 0, kDim, Combiner::kSum, 0});
      features.push_back(
          {absl::MakeConstSpan(index).subspan(f * batch_size, batch_size),
           splits});
      pooled.emplace_back(batch_size * kDim, 0.5f);
    }
    for (auto& buffer : values) value_spans.push_back(absl::MakeSpan(buffer));
    for (auto& buffer : pooled) pooled_spans.push_back(absl::MakeSpan(buffer));
    const_values.assign(values.begin(), values.end());
    const_pooled.assign(pooled.begin(), pooled.end());
  }

  void Shard(Executor& executor) {
    sharder.Shard(id_spans, executor, absl::MakeSpan(index)).IgnoreError();
    requests.resize(kShards);
    std::vector<absl::Span<int64_t>> request_spans;
    for (int s = 0; s < kShards; ++s) {
      requests[s].resize(sharder.RequestSize(s));
      request_spans.push_back(absl::MakeSpan(requests[s]));
    }
    sharder.WriteRequests(request_spans);
  }

  IdSharder sharder;
  std::vector<std::vector<int64_t>> ids;
  std::vector<int64_t> index;
  std::vector<int64_t> splits;
  std::vector<std::vector<int64_t>> requests;
  std::vector<std::vector<float>> values;
  std::vector<std::vector<float>> pooled;
  std::vector<PooledSlice> slices;
  std::vector<FeatureRows> features;
  std::vector<absl::Span<const int64_t>> id_spans;
  std::vector<absl::Span<float>> value_spans;
  std::vector<absl::Span<float>> pooled_spans;
  std::vector<absl::Span<const float>> const_values;
  std::vector<absl::Span<const float>> const_pooled;
};

void Arguments(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"batch", "threads"});
  for (int64_t batch : {512, 4096, 32768, 65536}) {
    for (int64_t threads : {1, 2}) benchmark->Args({batch, threads});
  }
  benchmark->UseRealTime();
}

void CountIds(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * state.range(0) * kFeatures);
}

void BM_ShardIds(benchmark::State& state) {
  Batch batch(state.range(0));
  ThreadPoolExecutor executor(state.range(1));
  for (auto _ : state) batch.Shard(executor);
  CountIds(state);
}
BENCHMARK(BM_ShardIds)->Apply(Arguments);

void BM_Pool(benchmark::State& state) {
  Batch batch(state.range(0));
  ThreadPoolExecutor executor(state.range(1));
  for (auto _ : state) {
    Pool(batch.slices, batch.features, batch.const_values, executor,
         batch.pooled_spans)
        .IgnoreError();
  }
  CountIds(state);
}
BENCHMARK(BM_Pool)->Apply(Arguments);

void BM_PoolGradient(benchmark::State& state) {
  Batch batch(state.range(0));
  ThreadPoolExecutor executor(state.range(1));
  for (auto _ : state) {
    PoolGradient(batch.slices, batch.features, batch.const_pooled, executor,
                 batch.value_spans)
        .IgnoreError();
  }
  CountIds(state);
}
BENCHMARK(BM_PoolGradient)->Apply(Arguments);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
