// What of a table file belongs to one server.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SHARD_ROWS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SHARD_ROWS_H_

#include <cstdint>
#include <vector>

#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {

// Keeps the ids, or rows, of one shard, in place and in their order.
void KeepShard(TableShard shard, std::vector<int64_t>* ids);
void KeepShard(TableShard shard, RowBlock* block);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_SHARD_ROWS_H_
