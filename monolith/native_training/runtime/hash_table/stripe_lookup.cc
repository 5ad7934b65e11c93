#include "monolith/native_training/runtime/hash_table/stripe_lookup.h"

#include <cstddef>
#include <cstring>
#include <mutex>
#include <shared_mutex>

#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
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
  const auto copy = [&](size_t i, const float* row) {
    std::memcpy(values + i * dim, row, bytes);
  };
  Positions closed;  // of stripes that are being written
  Positions absent;
  // The row of an id, after FindAtHome could not tell; null if it has none.
  const auto find = [&](size_t i) -> const float* {
    const uint64_t hash = HashId(all_ids[i]);
    const uint32_t row = stripes[StripeOfHash(hash)].Find(all_ids[i], hash);
    if (row != RowArena::kNoRow) return arena.Row(row);
    absent.Add(i);
    return nullptr;
  };
  {
    const void* homes[kPipelineRing];
    uint64_t hashes[kPipelineRing];
    const float* rows[kPipelineRing];  // null: not to be copied now
    Positions crowded;                 // not in their first bucket
    const StripeGate::Visit visit(gate);
    RunPrefetchPipeline(
        ids.size(),
        [&](size_t i) {
          const uint64_t hash = HashId(all_ids[i]);
          hashes[i % kPipelineRing] = hash;
          homes[i % kPipelineRing] = stripes[StripeOfHash(hash)].Home(hash);
        },
        [&](size_t i) { PrefetchLine(homes[i % kPipelineRing]); },
        [&](size_t i) {
          rows[i % kPipelineRing] = nullptr;
          uint32_t row;
          if (!visit.MayRead(StripeOfHash(hashes[i % kPipelineRing]))) {
            closed.Add(i);
          } else if (!IdIndex::FindAtHome(homes[i % kPipelineRing], all_ids[i],
                                          &row)) {
            crowded.Add(i);
          } else if (row == RowArena::kNoRow) {
            absent.Add(i);
          } else {
            rows[i % kPipelineRing] = arena.Row(row);
          }
        },
        [&](size_t i) {
          const float* const row = rows[i % kPipelineRing];
          if (row != nullptr) PrefetchBlock(row, bytes);
        },
        [&](size_t i) {
          const float* const row = rows[i % kPipelineRing];
          if (row != nullptr) copy(i, row);
        });
    // By now the buckets in which these go on are in the cache.
    const float* crowded_rows[kMaxLookupIds];
    for (size_t c = 0; c < crowded.size(); ++c) {
      crowded_rows[c] = find(crowded[c]);
      if (crowded_rows[c] != nullptr) PrefetchBlock(crowded_rows[c], bytes);
    }
    for (size_t c = 0; c < crowded.size(); ++c) {
      if (crowded_rows[c] != nullptr) copy(crowded[c], crowded_rows[c]);
    }
  }
  for (size_t c = 0; c < closed.size(); ++c) {
    const size_t i = closed[c];
    const int stripe = StripeOfHash(HashId(all_ids[i]));
    std::shared_lock<std::shared_mutex> lock(stripes[stripe].mutex());
    const float* const row = find(i);
    if (row != nullptr) copy(i, row);
  }
  for (size_t a = 0; a < absent.size(); ++a) {
    missing(all_ids[absent[a]], values + absent[a] * dim);
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
