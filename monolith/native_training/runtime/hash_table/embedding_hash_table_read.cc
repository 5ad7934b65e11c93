// Reading rows: Lookup and ExportStripe.

#include <algorithm>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

namespace monolith {
namespace {

// A lookup is cut into chunks of consecutive ids, so that what a chunk writes
// stays in the cache though it is written in the order of stripes.
constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kMinChunkIds = 512;
constexpr size_t kMaxChunkIds = 4096;

size_t ChunkIds(size_t dim) {
  return std::clamp(kChunkBytes / (dim * sizeof(float)), kMinChunkIds,
                    kMaxChunkIds);
}

// Holds the shared locks of the stripes that a pipeline is in: the stripe it
// finds rows in, and those before it whose rows are not all copied yet. Locks
// are taken and released in ascending order.
class StripeLocks {
 public:
  explicit StripeLocks(const Stripe* stripes) : stripes_(stripes) {}
  ~StripeLocks() { ReleaseBefore(next_); }

  void AcquireUpTo(int stripe) {
    if (held_ == next_) held_ = next_ = stripe;
    for (; next_ <= stripe; ++next_) stripes_[next_].mutex().lock_shared();
  }
  void ReleaseBefore(int stripe) {
    for (; held_ < stripe; ++held_) stripes_[held_].mutex().unlock_shared();
  }

 private:
  const Stripe* const stripes_;
  int held_ = 0;  // locks of [held_, next_) are held
  int next_ = 0;
};

// One chunk of a lookup.
void LookupChunk(absl::Span<const int64_t> ids, bool zero_missing,
                 const RowSchema& schema, const RowArena& arena,
                 const Stripe* stripes, float* values) {
  const StripePartition partition(ids, InlineExecutor::Get());
  const absl::Span<const uint32_t> order = partition.AllPositions();
  const size_t dim = static_cast<size_t>(schema.dim());
  const size_t bytes = dim * sizeof(float);
  uint64_t hashes[kPipelineRing];
  int in_stripe[kPipelineRing];
  const float* rows[kPipelineRing];
  StripeLocks locks(stripes);
  RunPrefetchPipeline(
      order.size(),
      [&](size_t i) {
        const uint64_t hash = HashId(ids[order[i]]);
        hashes[i % kPipelineRing] = hash;
        stripes[StripeOfHash(hash)].Prefetch(hash);
      },
      [&](size_t i) {
        const uint64_t hash = hashes[i % kPipelineRing];
        const int stripe = StripeOfHash(hash);
        locks.AcquireUpTo(stripe);
        const uint32_t row = stripes[stripe].Find(ids[order[i]], hash);
        in_stripe[i % kPipelineRing] = stripe;
        rows[i % kPipelineRing] = nullptr;
        if (row == RowArena::kNoRow) return;
        rows[i % kPipelineRing] = arena.Row(row);
        PrefetchBlock<false>(arena.Row(row), bytes);
        PrefetchBlock<true>(values + order[i] * dim, bytes);
      },
      [&](size_t i) {
        locks.ReleaseBefore(in_stripe[i % kPipelineRing]);
        const float* const row = rows[i % kPipelineRing];
        float* const value = values + order[i] * dim;
        if (row) {
          std::memcpy(value, row, bytes);
        } else if (zero_missing) {
          std::memset(value, 0, bytes);
        } else {
          schema.InitEmbedding(ids[order[i]], value);
        }
      });
}

}  // namespace

absl::Status EmbeddingHashTable::Lookup(absl::Span<const int64_t> ids,
                                        MissingId missing,
                                        absl::Span<float> values,
                                        Executor& executor) const {
  absl::Status status = CheckMatrix("values", ids.size(), values.size(), dim_);
  if (!status.ok()) return status;
  const size_t dim = static_cast<size_t>(dim_);
  const size_t chunk_ids = ChunkIds(dim);
  const size_t num_chunks = (ids.size() + chunk_ids - 1) / chunk_ids;
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const auto lookup = [&](int64_t chunk) {
    const size_t begin = static_cast<size_t>(chunk) * chunk_ids;
    LookupChunk(ids.subspan(begin, chunk_ids), missing == MissingId::kZero,
                *schema_, *arena_, stripes_.get(), values.data() + begin * dim);
  };
  if (num_chunks == 1) {
    lookup(0);
  } else {
    executor.ParallelFor(static_cast<int64_t>(num_chunks), lookup);
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::ExportStripe(int stripe, RowBatch* out) const {
  if (stripe < 0 || stripe >= kNumStripes) {
    return absl::InvalidArgumentError(
        absl::StrCat("table '", config_.name, "': stripe must be from 0 to ",
                     kNumStripes - 1, ", got ", stripe));
  }
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const Stripe& source = stripes_[stripe];
  std::shared_lock<std::shared_mutex> lock(source.mutex());
  const size_t n = out->ids.size() + static_cast<size_t>(source.size());
  out->ids.reserve(n);
  out->embeddings.reserve(n * dim_);
  out->states.reserve(n * state_dim_);
  out->update_times.reserve(n);
  source.ForEach([&](int64_t id, uint32_t row) {
    const float* const floats = arena_->Row(row);
    const float* const states = floats + dim_;
    out->ids.push_back(id);
    out->embeddings.insert(out->embeddings.end(), floats, states);
    out->states.insert(out->states.end(), states, states + state_dim_);
    out->update_times.push_back(*arena_->UpdateTime(row));
  });
  return absl::OkStatus();
}

}  // namespace monolith
