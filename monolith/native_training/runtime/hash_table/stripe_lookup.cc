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

// Places in a call's ids that are put off.
class Positions {
 public:
  void Add(size_t i) { positions_[size_++] = static_cast<uint16_t>(i); }

  size_t size() const { return size_; }
  size_t operator[](size_t n) const { return positions_[n]; }

 private:
  uint16_t positions_[kMaxLookupIds];
  size_t size_ = 0;
};

// kDim is the number of floats to copy, if it is known; else 0.
template <size_t kDim>
void Lookup(absl::Span<const int64_t> ids, size_t any_dim,
            const RowArena& arena, const Stripe* stripes, StripeGate& gate,
            absl::FunctionRef<void(int64_t, float*)> missing, float* values) {
  const size_t dim = kDim > 0 ? kDim : any_dim;
  const size_t bytes = dim * sizeof(float);
  const int64_t* const all_ids = ids.data();
  // The row's floats; if the id has no row, null, and its values are there.
  const auto row_or_fill = [&](size_t i, uint32_t row) -> const float* {
    if (row != RowArena::kNoRow) return arena.Row(row);
    missing(all_ids[i], values + i * dim);
    return nullptr;
  };
  const auto find = [&](size_t i) {
    const uint64_t hash = HashId(all_ids[i]);
    const Stripe& stripe = stripes[StripeOfHash(hash)];
    return row_or_fill(i, stripe.Find(all_ids[i], hash));
  };
  const auto prefetch = [&](const float* row) {
    if (row != nullptr) PrefetchBlock<false>(row, bytes);
  };
  const auto copy = [&](size_t i, const float* row) {
    if (row != nullptr) std::memcpy(values + i * dim, row, bytes);
  };
  Positions closed;  // of stripes that are being written
  {
    uint64_t hashes[kPipelineRing];
    const void* homes[kPipelineRing];
    const float* rows[kPipelineRing];
    Positions crowded;  // not in their first bucket
    const StripeGate::Visit visit(gate);
    RunGroupedPrefetchPipeline(
        ids.size(),
        [&](size_t i) {
          const uint64_t hash = HashId(all_ids[i]);
          hashes[i % kPipelineRing] = hash;
          homes[i % kPipelineRing] = stripes[StripeOfHash(hash)].Home(hash);
        },
        [&](size_t i) { __builtin_prefetch(homes[i % kPipelineRing]); },
        [&](size_t i) {
          const uint64_t hash = hashes[i % kPipelineRing];
          const int stripe = StripeOfHash(hash);
          const float*& row = rows[i % kPipelineRing];
          row = nullptr;
          uint32_t number;
          if (!visit.MayRead(stripe)) {
            closed.Add(i);
          } else if (stripes[stripe].FindAtHome(all_ids[i], hash, &number)) {
            row = row_or_fill(i, number);
          } else {
            crowded.Add(i);
          }
        },
        [&](size_t i) { prefetch(rows[i % kPipelineRing]); },
        [&](size_t i) { copy(i, rows[i % kPipelineRing]); });
    // By now the buckets in which these go on are in the cache.
    const float* crowded_rows[kMaxLookupIds];
    for (size_t c = 0; c < crowded.size(); ++c) {
      crowded_rows[c] = find(crowded[c]);
      prefetch(crowded_rows[c]);
    }
    for (size_t c = 0; c < crowded.size(); ++c) {
      copy(crowded[c], crowded_rows[c]);
    }
  }
  for (size_t c = 0; c < closed.size(); ++c) {
    const size_t i = closed[c];
    const int stripe = StripeOfHash(HashId(all_ids[i]));
    std::shared_lock<std::shared_mutex> lock(stripes[stripe].mutex());
    copy(i, find(i));
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
