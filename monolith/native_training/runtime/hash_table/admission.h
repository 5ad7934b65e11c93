#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ADMISSION_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

// One a stripe.
using OccurrenceFilters = std::vector<std::unique_ptr<OccurrenceFilter>>;

// Finds the rows of n ids, all of stripes that the caller holds, and calls
// write(i, slot) for each in order. An id without a row is on trial:
// occurrences_at(i) are counted for it, and it is passed over unless they bring
// it to `threshold`, which inserts its row. Stops at the first id for which
// there is no memory. An inserted row must be written completely.
//
// Thread safety: as the stripes, which guard their filters too.
template <typename IdAt, typename OccurrencesAt, typename Write>
absl::Status WriteAdmittedRows(size_t n, RowArena& arena, Stripe* stripes,
                               const OccurrenceFilters& filters,
                               uint32_t threshold, IdAt id_at,
                               OccurrencesAt occurrences_at, Write write) {
  const size_t row_bytes = arena.row_floats() * sizeof(float);
  uint64_t hashes[kPipelineRing];
  uint32_t rows[kPipelineRing];
  absl::Status status;
  // True if the id has a row now.
  const auto admit = [&](size_t i, Stripe::Slot* slot) {
    const uint64_t hash = HashId(id_at(i));
    const auto stripe_number = static_cast<size_t>(StripeOfHash(hash));
    Stripe& stripe = stripes[stripe_number];
    // The ids before may have been the same one.
    *slot = {stripe.FindToChange(id_at(i), hash), false};
    if (slot->row != RowArena::kNoRow) return true;
    absl::StatusOr<bool> admitted =
        filters[stripe_number]->Admit(hash, occurrences_at(i), threshold);
    if (!admitted.ok()) status = admitted.status();
    if (!admitted.ok() || !*admitted) return false;
    status = stripe.FindOrInsert(id_at(i), hash, arena, slot);
    return status.ok();
  };
  RunPrefetchPipeline(
      n, [&](size_t i) { hashes[i % kPipelineRing] = HashId(id_at(i)); },
      [&](size_t i) {
        const uint64_t hash = hashes[i % kPipelineRing];
        PrefetchLine(stripes[StripeOfHash(hash)].Home(hash));
      },
      [&](size_t i) {
        const uint64_t hash = hashes[i % kPipelineRing];
        rows[i % kPipelineRing] =
            stripes[StripeOfHash(hash)].FindToChange(id_at(i), hash);
      },
      [&](size_t i) {
        const uint64_t hash = hashes[i % kPipelineRing];
        const uint32_t row = rows[i % kPipelineRing];
        if (row != RowArena::kNoRow) {
          PrefetchRow(arena, row, row_bytes);
        } else {
          filters[static_cast<size_t>(StripeOfHash(hash))]->Prefetch(hash);
        }
      },
      [&](size_t i) {
        if (!status.ok()) return;
        Stripe::Slot slot = {rows[i % kPipelineRing], false};
        if (slot.row != RowArena::kNoRow || admit(i, &slot)) write(i, slot);
      });
  return status;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ADMISSION_H_
