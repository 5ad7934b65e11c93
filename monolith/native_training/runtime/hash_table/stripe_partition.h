#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_PARTITION_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_PARTITION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

// The positions of a batch of ids grouped by stripe, each group in ascending
// order: a stable counting sort by the top bits of the hash.
//
// Thread safety: immutable once made.
//
// Example:
//   StripePartition partition(ids, executor);
//   for (uint32_t i : partition.Positions(stripe, stripe + 1)) Use(ids[i]);
class StripePartition {
 public:
  // At most kMaxIds ids. Large batches are sorted by several threads.
  static constexpr size_t kMaxIds = 0xffffffff;

  StripePartition(absl::Span<const int64_t> ids, Executor& executor);

  // Positions in the batch of the ids of the stripes [first, last), stripe by
  // stripe.
  absl::Span<const uint32_t> Positions(int first, int last) const {
    return absl::MakeConstSpan(positions_)
        .subspan(begins_[first], begins_[last] - begins_[first]);
  }

 private:
  std::vector<uint32_t> positions_;
  std::array<size_t, kNumStripes + 1> begins_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_PARTITION_H_
