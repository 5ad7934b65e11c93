// Finds the floats that an index entry (request_format.h) names.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_VALUE_BUFFERS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_VALUE_BUFFERS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {

// The slice of the row `entry` names, nullptr if it is not inside `buffers`
// (one per shard). Float is float or const float.
template <typename Float>
Float* FindSlice(absl::Span<const absl::Span<Float>> buffers, int64_t entry,
                 const PooledSlice& slice) {
  const uint64_t shard = static_cast<uint64_t>(ShardOfIndex(entry));
  if (shard >= buffers.size()) return nullptr;
  const int64_t offset = OffsetOfIndex(entry) + slice.offset;
  if (offset + slice.dim > static_cast<int64_t>(buffers[shard].size())) {
    return nullptr;
  }
  return buffers[shard].data() + offset;
}

// What to say when FindSlice finds nothing for the feature's entry `position`.
absl::Status BadIndexError(const PooledSlice& slice, const FeatureRows& rows,
                           int64_t position);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_VALUE_BUFFERS_H_
