#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"

namespace monolith {

// The loops by which a batch changes a table: over stripes, and over the rows
// of one stripe.
//
// Thread safety: see each function.

// Calls body(stripe) for every stripe, by several threads if the batch has
// enough ids to be worth it. The error of the lowest stripe, if there is one;
// the others are worked on even so.
absl::Status ForEachStripe(size_t num_ids, Executor& executor,
                           absl::FunctionRef<absl::Status(int)> body);

// Finds or inserts the rows of n ids of one stripe, under one hold of its lock,
// and calls write(i, slot) for each in order. Stops at the first id for which
// there is no memory. An inserted row must be written completely.
template <typename IdAt, typename Write>
absl::Status WriteStripeRows(size_t n, RowArena& arena, Stripe& stripe,
                             IdAt id_at, Write write) {
  if (n == 0) return absl::OkStatus();
  const size_t row_bytes = arena.row_floats() * sizeof(float);
  uint64_t hashes[kPipelineRing];
  Stripe::Slot slots[kPipelineRing];
  absl::Status status;
  std::unique_lock<std::shared_mutex> lock(stripe.mutex());
  RunPrefetchPipeline(
      n,
      [&](size_t i) {
        const uint64_t hash = HashId(id_at(i));
        hashes[i % kPipelineRing] = hash;
        stripe.Prefetch(hash);
      },
      [&](size_t i) {
        Stripe::Slot& slot = slots[i % kPipelineRing];
        slot = {RowArena::kNoRow, false};
        if (!status.ok()) return;
        status = stripe.FindOrInsert(id_at(i), hashes[i % kPipelineRing], arena,
                                     &slot);
        if (!status.ok()) return;
        PrefetchBlock<true>(arena.Row(slot.row), row_bytes);
        PrefetchBlock<true>(arena.UpdateTime(slot.row), sizeof(uint32_t));
      },
      [&](size_t i) {
        const Stripe::Slot& slot = slots[i % kPipelineRing];
        if (slot.row != RowArena::kNoRow) write(i, slot);
      });
  return status;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_
