#include "monolith/native_training/runtime/ops/table_files/initial_state.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

absl::StatusOr<std::vector<float>> InitialState(const SegmentConfig& segment) {
  TableConfig config;
  config.name = "initial_state";
  config.segments = {segment};
  absl::StatusOr<std::unique_ptr<EmbeddingHashTable>> table =
      EmbeddingHashTable::Create(std::move(config));
  if (!table.ok()) return table.status();
  const std::vector<float> embedding(segment.dim, 0.0f);
  absl::Status status = (*table)->Assign({0}, embedding, /*update_time=*/0);
  EmbeddingHashTable::RowBatch rows;
  for (int stripe = 0; status.ok() && stripe < (*table)->num_stripes();
       ++stripe) {
    status = (*table)->ExportStripe(stripe, &rows);
  }
  if (!status.ok()) return status;
  return std::move(rows.states);
}

}  // namespace monolith
