#include "monolith/native_training/runtime/hash_table/index_memory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace monolith {
absl::Status IndexMemory::Reserve(int stripe, uint64_t num_buckets) {
  const auto s = static_cast<size_t>(stripe);
  std::lock_guard<std::mutex> lock(mutex_);
  if (num_buckets <= num_buckets_[s]) return absl::OkStatus();
  const size_t last_chunk = ChunkOf((num_buckets - 1) / kPageBuckets);
  if (last_chunk >= kChunks) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "too many ids have nearly the same hash: a stripe of an index has no ",
        "more than ", FirstLayer(kChunks) * kPageBuckets, " buckets, wanted ",
        num_buckets));
  }
  for (size_t chunk = 0; chunk <= last_chunk; ++chunk) {
    absl::Status status = MapChunk(chunk);
    if (!status.ok()) return status;
  }
  num_buckets_[s] = num_buckets;
  memory_bytes_.store(CountBytes(), std::memory_order_relaxed);
  return absl::OkStatus();
}

// Small tables stay on small pages, since each huge page could waste 2 MB.
absl::Status IndexMemory::MapChunk(size_t chunk) {
  if (chunks_[chunk].data() != nullptr) return absl::OkStatus();
  const uint64_t first = FirstLayer(chunk);
  auto memory = ZeroedMemory::Create(
      std::max<uint64_t>(first, 1) * kLayerBytes,
      chunk == 0 ? ZeroedMemory::Pages::kSmall : ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  chunks_[chunk] = *std::move(memory);
  origins_[chunk].store(
      reinterpret_cast<uintptr_t>(chunks_[chunk].data()) - first * kLayerBytes,
      std::memory_order_relaxed);
  return absl::OkStatus();
}

void IndexMemory::Reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& origin : origins_) origin.store(0, std::memory_order_relaxed);
  for (ZeroedMemory& chunk : chunks_) chunk = ZeroedMemory();
  num_buckets_.fill(0);
  memory_bytes_.store(0, std::memory_order_relaxed);
}

// In layer 0 the small pages of every stripe; in the others the huge pages,
// each of which several stripes share: it is there if one of them needs it.
int64_t IndexMemory::CountBytes() const {
  constexpr size_t kHugePage = ZeroedMemory::kHugePageBytes;
  constexpr size_t kSharers = kHugePage / kPageBytes;
  uint64_t bytes = 0;
  for (size_t first = 0; first < kNumStripes; first += kSharers) {
    uint64_t most_pages = 1;
    for (size_t s = first; s < first + kSharers; ++s) {
      const uint64_t stripe_bytes = num_buckets_[s] * kBucketBytes;
      bytes +=
          ZeroedMemory::RoundUp(std::min<uint64_t>(stripe_bytes, kPageBytes),
                                ZeroedMemory::kSmallPageBytes);
      most_pages =
          std::max(most_pages, ZeroedMemory::RoundUp(stripe_bytes, kPageBytes) /
                                   kPageBytes);
    }
    bytes += (most_pages - 1) * kHugePage;
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace monolith
