#include "monolith/native_training/runtime/hash_table/test_tables.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace monolith {
namespace {

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

}  // namespace

SegmentConfig TestSegment(int dim, OptimizerConfig optimizer) {
  SegmentConfig segment;
  segment.name = "s" + std::to_string(dim);
  segment.dim = dim;
  segment.seed = 1000 + static_cast<uint64_t>(dim);
  segment.optimizer = std::move(optimizer);
  return segment;
}

TableConfig OneSegment(int dim, OptimizerConfig optimizer) {
  TableConfig config;
  config.name = "test";
  config.segments = {TestSegment(dim, std::move(optimizer))};
  return config;
}

std::unique_ptr<EmbeddingHashTable> MakeTable(TableConfig config) {
  auto table = EmbeddingHashTable::Create(std::move(config));
  Check(table.status());
  return *std::move(table);
}

std::vector<float> LookupAll(const EmbeddingHashTable& table,
                             const std::vector<int64_t>& ids,
                             EmbeddingHashTable::MissingId missing) {
  std::vector<float> values(ids.size() * static_cast<size_t>(table.dim()));
  Check(table.Lookup(ids, missing, absl::MakeSpan(values)));
  return values;
}

EmbeddingHashTable::RowBatch ExportAll(const EmbeddingHashTable& table) {
  EmbeddingHashTable::RowBatch rows;
  for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
    Check(table.ExportStripe(stripe, &rows));
  }
  return rows;
}

}  // namespace monolith
