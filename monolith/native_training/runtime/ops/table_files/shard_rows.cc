#include "monolith/native_training/runtime/ops/table_files/shard_rows.h"

#include <algorithm>
#include <cstddef>

#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {

void KeepShard(TableShard shard, std::vector<int64_t>* ids) {
  const auto is_elsewhere = [shard](int64_t id) {
    return ShardOfId(id, shard.count) != shard.index;
  };
  ids->erase(std::remove_if(ids->begin(), ids->end(), is_elsewhere),
             ids->end());
}

void KeepShard(TableShard shard, RowBlock* block) {
  EmbeddingHashTable::RowBatch& rows = block->rows;
  const size_t dim = block->dim;
  const size_t state_dim = block->state_dim;
  size_t kept = 0;
  for (size_t row = 0; row < rows.ids.size(); ++row) {
    if (ShardOfId(rows.ids[row], shard.count) != shard.index) continue;
    if (kept != row) {
      rows.ids[kept] = rows.ids[row];
      std::copy_n(rows.embeddings.begin() + row * dim, dim,
                  rows.embeddings.begin() + kept * dim);
      std::copy_n(rows.states.begin() + row * state_dim, state_dim,
                  rows.states.begin() + kept * state_dim);
      rows.update_times[kept] = rows.update_times[row];
    }
    ++kept;
  }
  rows.ids.resize(kept);
  rows.embeddings.resize(kept * dim);
  rows.states.resize(kept * state_dim);
  rows.update_times.resize(kept);
}

}  // namespace monolith
