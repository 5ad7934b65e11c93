#include "monolith/native_training/runtime/hash_table/stripe_lookup.h"

#include <cstddef>
#include <cstring>

#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

namespace monolith {
namespace {

// Holds the shared locks of the stripes that a pipeline is in: the one it finds
// rows in, and those before it whose rows are not all copied yet. So a stripe
// that ends does not stall the pipeline. Ascending order, as Stripe demands.
class StripeLocks {
 public:
  explicit StripeLocks(const Stripe* stripes) : stripes_(stripes) {}
  ~StripeLocks() {
    while (first_ < end_) ReleaseFirst();
  }

  // The stripe that rows are found in from now on.
  void Enter(int stripe) {
    if (stripe == newest_) return;
    stripes_[stripe].mutex().lock_shared();
    held_[end_++ % kPipelineRing] = stripe;
    newest_ = stripe;
  }
  // Rows of stripes before this one are no longer used.
  void LeaveBefore(int stripe) {
    while (held_[first_ % kPipelineRing] < stripe) ReleaseFirst();
  }

 private:
  void ReleaseFirst() {
    stripes_[held_[first_++ % kPipelineRing]].mutex().unlock_shared();
  }

  const Stripe* const stripes_;
  int newest_ = -1;
  int held_[kPipelineRing];  // [first_, end_), a ring
  size_t first_ = 0;
  size_t end_ = 0;
};

// kDim is the number of floats to copy, if it is known; else 0.
template <size_t kDim>
void Lookup(absl::Span<const int64_t> ids, size_t any_dim,
            const RowArena& arena, const Stripe* stripes,
            absl::FunctionRef<void(int64_t, float*)> missing, float* values) {
  struct Item {
    int64_t id;
    uint64_t hash;
  };
  struct Copy {
    const float* row;  // null if there is none
    float* value;
    int64_t id;
    int stripe;
  };
  const size_t dim = kDim > 0 ? kDim : any_dim;
  const size_t bytes = dim * sizeof(float);
  const StripePartition partition(ids, InlineExecutor::Get());
  const uint32_t* const order = partition.AllPositions().data();
  const int64_t* const all_ids = ids.data();
  Item items[kPipelineRing];
  Copy copies[kPipelineRing];
  StripeLocks locks(stripes);
  RunPrefetchPipeline(
      ids.size(),
      [&](size_t i) {
        const int64_t id = all_ids[order[i]];
        const uint64_t hash = HashId(id);
        stripes[StripeOfHash(hash)].Prefetch(hash);
        items[i % kPipelineRing] = {id, hash};
      },
      [&](size_t i) {
        const Item& item = items[i % kPipelineRing];
        Copy& copy = copies[i % kPipelineRing];
        copy.id = item.id;
        copy.stripe = StripeOfHash(item.hash);
        copy.value = values + order[i] * dim;
        copy.row = nullptr;
        locks.Enter(copy.stripe);
        const uint32_t row = stripes[copy.stripe].Find(item.id, item.hash);
        if (row == RowArena::kNoRow) return;
        copy.row = arena.Row(row);
        PrefetchBlock<false>(copy.row, bytes);
      },
      [&](size_t i) {
        const Copy& copy = copies[i % kPipelineRing];
        locks.LeaveBefore(copy.stripe);
        if (copy.row) {
          std::memcpy(copy.value, copy.row, bytes);
        } else {
          missing(copy.id, copy.value);
        }
      });
}

}  // namespace

void LookupInStripes(absl::Span<const int64_t> ids, size_t dim,
                     const RowArena& arena, const Stripe* stripes,
                     absl::FunctionRef<void(int64_t, float*)> missing,
                     float* values) {
  // The usual widths are copied without a call.
  switch (dim) {
    case 8:
      return Lookup<8>(ids, dim, arena, stripes, missing, values);
    case 16:
      return Lookup<16>(ids, dim, arena, stripes, missing, values);
    case 32:
      return Lookup<32>(ids, dim, arena, stripes, missing, values);
    case 64:
      return Lookup<64>(ids, dim, arena, stripes, missing, values);
    default:
      return Lookup<0>(ids, dim, arena, stripes, missing, values);
  }
}

}  // namespace monolith
