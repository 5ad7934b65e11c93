#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"

namespace monolith {

// Copies the first `dim` floats of the rows of `ids` to `values`; for an id
// without a row calls missing(id, where its values go), at most dim floats.
//
// The ids are visited stripe by stripe, each stripe's lock being taken shared
// once; so few ids that their values fit into the cache are fastest.
//
// Thread safety: takes the stripes' locks. `missing` is called with some held.
void LookupInStripes(absl::Span<const int64_t> ids,  // (n)
                     size_t dim, const RowArena& arena, const Stripe* stripes,
                     absl::FunctionRef<void(int64_t, float*)> missing,
                     float* values);  // (n, dim)

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_LOOKUP_H_
