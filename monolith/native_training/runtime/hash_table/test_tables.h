#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TEST_TABLES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TEST_TABLES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Small tables for tests.
//
// Example:
//   auto table = MakeTable(OneSegment(8, {"sgd", {{"learning_rate", 1}}}));

// A segment "s<dim>" with random initial values.
SegmentConfig TestSegment(int dim, OptimizerConfig optimizer);

// Table "test" with one such segment.
TableConfig OneSegment(int dim, OptimizerConfig optimizer);

// Crashes if the config is refused.
std::unique_ptr<EmbeddingHashTable> MakeTable(TableConfig config);

// The embeddings of `ids`, (n, dim), missing ones as asked.
std::vector<float> LookupAll(const EmbeddingHashTable& table,
                             const std::vector<int64_t>& ids,
                             EmbeddingHashTable::MissingId missing =
                                 EmbeddingHashTable::MissingId::kInitialValue);

// All rows of all stripes.
EmbeddingHashTable::RowBatch ExportAll(const EmbeddingHashTable& table);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_TEST_TABLES_H_
