// How fast a compact table is read, beside the hash table that training uses,
// and how fast it is written and loaded.
//
//   tools/bazel run
//   //monolith/native_training/runtime/compact_table:compact_table_benchmark
//
// Arguments: number of ids, of which all looked-up ones are, batch, threads.
// Rows have 32 floats. items_per_second counts ids. All of them take about two
// minutes and 4 GB.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "monolith/native_training/runtime/compact_table/compact_table.h"
#include "monolith/native_training/runtime/compact_table/compact_table_writer.h"
#include "monolith/native_training/runtime/compact_table/memory_files.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

constexpr int kDim = 32;
constexpr int kBatches = 16;  // different ones, taken in turn
constexpr int64_t kFillBatch = 65536;

TableConfig Config(const std::string& compressor) {
  TableConfig config;
  config.name = "benchmark";
  SegmentConfig segment;
  segment.name = "vec";
  segment.dim = kDim;
  segment.optimizer.type = "sgd";
  segment.compressor.type = compressor;
  config.segments.push_back(segment);
  return config;
}

int64_t NthId(int64_t n) {
  return static_cast<int64_t>(MixBits(static_cast<uint64_t>(n)));
}

// Calls add(ids, values) for all ids.
template <typename AddRows>
void Fill(int64_t num_ids, AddRows add) {
  std::vector<float> values(kFillBatch * kDim);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.001f * (i % 1000);
  std::vector<int64_t> ids;
  for (int64_t begin = 0; begin < num_ids; begin += kFillBatch) {
    ids.clear();
    for (int64_t i = begin; i < std::min(num_ids, begin + kFillBatch); ++i) {
      ids.push_back(NthId(i));
    }
    if (!add(ids, absl::MakeConstSpan(values).subspan(0, ids.size() * kDim))
             .ok()) {
      std::abort();
    }
  }
}

std::vector<uint8_t> Written(const std::string& compressor, int64_t num_ids) {
  MemoryFile scratch, file;
  auto writer = *CompactTableWriter::Create(Config(compressor), &scratch,
                                            size_t{1} << 40);
  Fill(num_ids,
       [&](const auto& ids, auto values) { return writer->Add(ids, values); });
  if (!writer->Finish(file).ok()) std::abort();
  return file.bytes();
}

// One table is kept from benchmark to benchmark.
template <typename Table, typename Make>
Table& Kept(const std::string& name, int64_t num_ids, Make make) {
  static std::pair<std::string, int64_t> key;
  static std::unique_ptr<Table> table;
  if (key != std::make_pair(name, num_ids)) {
    table.reset();
    table = make();
    key = {name, num_ids};
  }
  return *table;
}

template <typename Lookup>
void LookUp(benchmark::State& state, Lookup lookup) {
  const int64_t num_ids = state.range(0), batch = state.range(1);
  std::mt19937_64 random(1);
  std::vector<std::vector<int64_t>> batches(kBatches);
  for (auto& ids : batches) {
    for (int64_t i = 0; i < batch; ++i)
      ids.push_back(NthId(random() % num_ids));
  }
  std::vector<float> values(batch * kDim);
  ThreadPoolExecutor executor(static_cast<int>(state.range(2)));
  size_t next = 0;
  for (auto _ : state) {
    if (!lookup(batches[next++ % kBatches], absl::MakeSpan(values), executor)
             .ok()) {
      std::abort();
    }
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

void HashTable(benchmark::State& state) {
  auto& table = Kept<EmbeddingHashTable>("hash", state.range(0), [&] {
    auto made = *EmbeddingHashTable::Create(Config("fp16"));
    Fill(state.range(0), [&](const auto& ids, auto values) {
      return made->Assign(ids, values, 0);
    });
    return made;
  });
  LookUp(state, [&](const auto& ids, auto values, Executor& executor) {
    return table.Lookup(ids, EmbeddingHashTable::MissingId::kZero, values,
                        executor);
  });
  state.counters["bytes_per_id"] =
      static_cast<double>(table.memory_bytes()) / state.range(0);
}

void Compact(benchmark::State& state, const std::string& compressor) {
  auto& table = Kept<CompactTable>(compressor, state.range(0), [&] {
    return *CompactTable::Load(
        MemorySource(Written(compressor, state.range(0))));
  });
  LookUp(state, [&](const auto& ids, auto values, Executor& executor) {
    return table.Lookup(ids, values, executor);
  });
  state.counters["bytes_per_id"] =
      static_cast<double>(table.memory_bytes()) / state.range(0);
}

void Write(benchmark::State& state) {
  for (auto _ : state) Written("fp16", state.range(0));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void Load(benchmark::State& state) {
  const MemorySource source(Written("fp16", state.range(0)));
  for (auto _ : state) {
    if (!CompactTable::Load(source).ok()) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["file_bytes_per_id"] =
      static_cast<double>(source.size()) / state.range(0);
}

void Sweep(benchmark::internal::Benchmark* b) {
  b->ArgNames({"ids", "batch", "threads"})->UseRealTime();
  for (const int64_t ids : {1000000, 10000000}) {
    b->Args({ids, 512, 1})->Args({ids, 65536, 1})->Args({ids, 65536, 2});
  }
}

BENCHMARK(HashTable)->Apply(Sweep);
BENCHMARK_CAPTURE(Compact, fp32, "fp32")->Apply(Sweep);
BENCHMARK_CAPTURE(Compact, fp16, "fp16")->Apply(Sweep);
BENCHMARK_CAPTURE(Compact, fixed_r8, "fixed_r8")->Apply(Sweep);
BENCHMARK_CAPTURE(Compact, one_bit, "one_bit")->Apply(Sweep);
BENCHMARK(Write)->Arg(1000000)->Unit(benchmark::kMillisecond);
BENCHMARK(Load)->Arg(1000000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace monolith

BENCHMARK_MAIN();
