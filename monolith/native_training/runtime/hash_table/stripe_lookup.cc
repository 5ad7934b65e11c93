#include "monolith/native_training/runtime/hash_table/stripe_lookup.h"

#include <cstddef>
#include <cstring>
#include <mutex>
#include <shared_mutex>

#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {
namespace {

// kDim is the number of floats to copy, if it is known; else 0.
template <size_t kDim>
void Lookup(absl::Span<const int64_t> ids, size_t any_dim,
            const RowArena& arena, const Stripe* stripes, StripeGate& gate,
            absl::FunctionRef<void(int64_t, float*)> missing, float* values) {
  const size_t dim = kDim > 0 ? kDim : any_dim;
  const size_t bytes = dim * sizeof(float);
  const int64_t* const all_ids = ids.data();
  const auto copy = [&](size_t i, uint32_t row) {
    if (row == RowArena::kNoRow) {
      missing(all_ids[i], values + i * dim);
    } else {
      std::memcpy(values + i * dim, arena.Row(row), bytes);
    }
  };
  uint16_t closed[kMaxLookupIds];  // positions of ids to be read by locks
  size_t num_closed = 0;
  {
    struct Found {
      uint32_t row;
      bool is_open;
    };
    uint64_t hashes[kPipelineRing];
    Found found[kPipelineRing];
    const StripeGate::Visit visit(gate);
    RunPrefetchPipeline(
        ids.size(),
        [&](size_t i) {
          const uint64_t hash = HashId(all_ids[i]);
          stripes[StripeOfHash(hash)].Prefetch(hash);
          hashes[i % kPipelineRing] = hash;
        },
        [&](size_t i) {
          const uint64_t hash = hashes[i % kPipelineRing];
          const int stripe = StripeOfHash(hash);
          const bool is_open = visit.MayRead(stripe);
          uint32_t row = RowArena::kNoRow;
          if (is_open) {
            row = stripes[stripe].Find(all_ids[i], hash);
            if (row != RowArena::kNoRow) {
              PrefetchBlock<false>(arena.Row(row), bytes);
            }
          } else {
            closed[num_closed++] = static_cast<uint16_t>(i);
          }
          found[i % kPipelineRing] = {row, is_open};
        },
        [&](size_t i) {
          const Found& it = found[i % kPipelineRing];
          if (it.is_open) copy(i, it.row);
        });
  }
  for (size_t c = 0; c < num_closed; ++c) {
    const size_t i = closed[c];
    const uint64_t hash = HashId(all_ids[i]);
    const Stripe& stripe = stripes[StripeOfHash(hash)];
    std::shared_lock<std::shared_mutex> lock(stripe.mutex());
    copy(i, stripe.Find(all_ids[i], hash));
  }
}

}  // namespace

void LookupInStripes(absl::Span<const int64_t> ids, size_t dim,
                     const RowArena& arena, const Stripe* stripes,
                     StripeGate& gate,
                     absl::FunctionRef<void(int64_t, float*)> missing,
                     float* values) {
  // The usual widths are copied without a call.
  switch (dim) {
    case 8:
      return Lookup<8>(ids, dim, arena, stripes, gate, missing, values);
    case 16:
      return Lookup<16>(ids, dim, arena, stripes, gate, missing, values);
    case 32:
      return Lookup<32>(ids, dim, arena, stripes, gate, missing, values);
    case 64:
      return Lookup<64>(ids, dim, arena, stripes, gate, missing, values);
    default:
      return Lookup<0>(ids, dim, arena, stripes, gate, missing, values);
  }
}

}  // namespace monolith
