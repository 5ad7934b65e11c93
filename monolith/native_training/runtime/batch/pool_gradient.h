// The gradient of Pool: spreads the gradients of pooled slices over the rows
// they were made of, adding up where a row was used more than once.
//
// Stateless and thread-safe. Large batches spread over the executor's threads,
// the features of each table on one; the additions of a row always happen in
// the same order, so the result does not depend on how many threads there are.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_GRADIENT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_GRADIENT_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

// `gradients`: one per slice, shaped like its pooled output.
// `value_gradients`: one buffer per shard, laid out like its values; every
// float is written, rows that no slice covers with zeros.
//
// InvalidArgument if a size is wrong, an index entry points outside the
// buffers, or a gradient that would reach a row is NaN or infinite (the
// message names the slice and the example). Gradients of padding and of
// examples without ids reach no row and may be anything.
// REQUIRES: CheckPooledSlice holds for all slices and `features`.
absl::Status PoolGradient(absl::Span<const PooledSlice> slices,
                          absl::Span<const FeatureRows> features,
                          absl::Span<const absl::Span<const float>> gradients,
                          Executor& executor,
                          absl::Span<const absl::Span<float>> value_gradients);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_GRADIENT_H_
