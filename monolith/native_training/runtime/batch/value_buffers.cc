#include "monolith/native_training/runtime/batch/value_buffers.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {

absl::Status BadIndexError(const PooledSlice& slice, const FeatureRows& rows,
                           int64_t position) {
  const int64_t entry = rows.index[position];
  return absl::InvalidArgumentError(absl::StrCat(
      "index entry ", position, " of feature ", slice.feature,
      " points outside the value buffers: shard ", ShardOfIndex(entry),
      ", float ", OffsetOfIndex(entry), ", of which output ", slice.name,
      " wanted floats ", slice.offset, " to ", slice.offset + slice.dim));
}

}  // namespace monolith
