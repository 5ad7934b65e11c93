// Tells which slices of a batch may touch the same rows.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_GROUPS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_GROUPS_H_

#include <vector>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"

namespace monolith {

// Divides the slices, given by their positions, into groups such that no float
// of a value buffer belongs to slices of two groups. In each group they ascend.
//
// Each table has a range of its own in every value buffer, so there are as many
// groups as tables, or fewer. Entries that point outside the `num_shards`
// buffers are passed over.
std::vector<std::vector<int>> GroupSlicesByRows(
    absl::Span<const PooledSlice> slices,
    absl::Span<const FeatureRows> features, int num_shards);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_GROUPS_H_
