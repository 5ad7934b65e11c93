// What a worker makes of the rows it fetched: pooled slices.
//
// A *slice* is a range of floats inside a feature's rows. Pooling reduces the
// slice of all ids of an example to one tensor per example:
//
//   kSum     (batch, dim)          sum over the example's ids
//   kMean    (batch, dim)          sum / number of ids; zeros without ids
//   kFirstN  (batch, length, dim)  the first `length` ids, then zeros
//   kNone    (num_ids, dim)        no reduction
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOLED_SLICE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOLED_SLICE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace monolith {

enum class Combiner { kSum, kMean, kFirstN, kNone };

// From "sum", "mean", "first_n" or "none".
absl::StatusOr<Combiner> ParseCombiner(absl::string_view name);

struct PooledSlice {
  std::string name;  // for messages
  int feature = 0;
  int64_t offset = 0;  // first float of the slice inside a row
  int64_t dim = 0;     // floats
  Combiner combiner = Combiner::kSum;
  int64_t length = 0;  // ids kept by kFirstN, otherwise unused
};

// InvalidArgument naming the slice for an unknown feature, a range that no row
// can have, or kFirstN without a length.
absl::Status CheckPooledSlice(const PooledSlice& slice, int num_features);

// The rows of one feature of a batch.
// INVARIANT: CheckRowSplits(row_splits, index.size()) holds.
struct FeatureRows {
  absl::Span<const int64_t> index;       // (num_ids), see request_format.h
  absl::Span<const int64_t> row_splits;  // (batch + 1)

  int64_t batch_size() const {
    return static_cast<int64_t>(row_splits.size()) - 1;
  }
};

// Number of floats of the pooled slice; InvalidArgument if it has more than
// kMaxBufferFloats.
absl::StatusOr<int64_t> PooledFloats(const PooledSlice& slice,
                                     const FeatureRows& rows);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOLED_SLICE_H_
