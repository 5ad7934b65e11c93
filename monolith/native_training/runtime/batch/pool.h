// Lays fetched rows out as pooled slices: what the model reads.
//
// Stateless and thread-safe. Large batches spread over the executor's threads;
// the result does not depend on how many there are.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

// Writes every float of every `pooled` (one per slice, PooledFloats long).
// `values` is one buffer per shard. InvalidArgument if an index entry points
// outside them or a size is wrong; `pooled` is then unspecified.
// REQUIRES: CheckPooledSlice holds for all slices and `features`.
absl::Status Pool(absl::Span<const PooledSlice> slices,
                  absl::Span<const FeatureRows> features,
                  absl::Span<const absl::Span<const float>> values,
                  Executor& executor,
                  absl::Span<const absl::Span<float>> pooled);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_H_
