#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_gate.h"

namespace monolith {

// The most ids that one call of LookupInStripes takes: writers wait for calls
// to end, so these must be short. About 30 microseconds.
inline constexpr size_t kMaxLookupIds = 512;

// Copies the first `dim` floats of the rows of `ids` to `values`; for an id
// without a row calls missing(id, where its values go), at most dim floats.
//
// Rows of open stripes are read in the order of the ids, without locks; those
// of stripes that are being written come after, by the stripes' locks.
//
// Thread safety: visits the gate, takes the stripes' locks; calls `missing`
// after both.
void LookupInStripes(absl::Span<const int64_t> ids,  // (n), <= kMaxLookupIds
                     size_t dim, const RowArena& arena, const Stripe* stripes,
                     StripeGate& gate,
                     absl::FunctionRef<void(int64_t, float*)> missing,
                     float* values);  // (n, dim)

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_
