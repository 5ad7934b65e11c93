#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_gate.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

// How a batch changes a table: being alone in some stripes, and the loops over
// groups of stripes and over rows.
//
// Thread safety: see each function.

// Alone in the stripes [first, last): their locks are held and the gate is
// closed for as long as this lives.
class StripeHold {
 public:
  StripeHold(const Stripe* stripes, StripeGate& gate, int first, int last);
  ~StripeHold();

  StripeHold(const StripeHold&) = delete;
  StripeHold& operator=(const StripeHold&) = delete;

 private:
  const Stripe* const stripes_;
  StripeGate& gate_;
  const int first_;
  const int last_;
};

// Calls body(first, last) for groups of stripes that make up all, by several
// threads if the batch has enough ids to be worth it: so few groups that a hold
// is worth its cost, so many that nobody waits long for one. The error of the
// lowest group, if there is one; the others are worked on even so.
absl::Status ForEachStripeGroup(
    size_t num_ids, Executor& executor,
    absl::FunctionRef<absl::Status(int first, int last)> body);

// Brings a row of `row_bytes` and its time into the cache.
inline void PrefetchRow(const RowArena& arena, uint32_t row, size_t row_bytes) {
  PrefetchBlock(arena.Row(row), row_bytes);
  PrefetchLine(arena.UpdateTime(row));
}

// Finds or inserts the rows of n ids, all of stripes that the caller holds, and
// calls write(i, slot) for each in order. Stops at the first id for which there
// is no memory. An inserted row must be written completely.
template <typename IdAt, typename Write>
absl::Status WriteRows(size_t n, RowArena& arena, Stripe* stripes, IdAt id_at,
                       Write write) {
  const size_t row_bytes = arena.row_floats() * sizeof(float);
  uint64_t hashes[kPipelineRing];
  Stripe::Slot slots[kPipelineRing];
  absl::Status status;
  RunPrefetchPipeline(
      n, [&](size_t i) { hashes[i % kPipelineRing] = HashId(id_at(i)); },
      [&](size_t i) {
        const uint64_t hash = hashes[i % kPipelineRing];
        PrefetchLine(stripes[StripeOfHash(hash)].Home(hash));
      },
      [&](size_t i) {
        Stripe::Slot& slot = slots[i % kPipelineRing];
        slot = {RowArena::kNoRow, false};
        if (!status.ok()) return;
        const uint64_t hash = hashes[i % kPipelineRing];
        status = stripes[StripeOfHash(hash)].FindOrInsert(id_at(i), hash, arena,
                                                          &slot);
      },
      [&](size_t i) {
        const Stripe::Slot& slot = slots[i % kPipelineRing];
        if (slot.row != RowArena::kNoRow) {
          PrefetchRow(arena, slot.row, row_bytes);
        }
      },
      [&](size_t i) {
        const Stripe::Slot& slot = slots[i % kPipelineRing];
        if (slot.row != RowArena::kNoRow) write(i, slot);
      });
  return status;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_BATCH_H_
