// A worker's request (batch/request_format.h) matched with a server's tables.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_REQUEST_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_REQUEST_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith {

struct TableRequest {
  // One table's share.
  struct Part {
    EmbeddingHashTable* table;
    absl::Span<const int64_t> ids;
    absl::Span<const int64_t> occurrences;  // packed; empty: one of each id
    int64_t value_begin;                    // first float in the value buffer
    int64_t value_size;                     // ids.size() * table->dim()
  };

  absl::InlinedVector<Part, 8> parts;  // one per table, in order
  int64_t value_size = 0;              // floats of the value buffer
};

// Counts it among the tables' requests. InvalidArgument unless `request` is a
// well-formed request for the tables. The result points into both and lives as
// long.
absl::StatusOr<TableRequest> ParseTableRequest(
    const TableSet& tables, const tensorflow::Tensor& request);

// Calls body(table, part) for every table's share, those of a big request
// beside each other. The error of the first table that has one; the others are
// worked on even so.
absl::Status ForEachPart(
    const TableRequest& request, Executor& executor,
    absl::FunctionRef<absl::Status(size_t, const TableRequest::Part&)> body);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_REQUEST_H_
