#include "monolith/native_training/runtime/hash_table/index_memory.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace monolith {

absl::Status IndexMemory::Reserve(uint64_t num_buckets) {
  if (num_buckets == 0) return absl::OkStatus();
  std::lock_guard<std::mutex> lock(mutex_);
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

int64_t IndexMemory::memory_bytes() const {
  // The lock is not held for the look: who inserts must not wait for it.
  std::vector<ZeroedMemory::Extent> extents;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const ZeroedMemory& chunk : chunks_) extents.push_back(chunk.extent());
  }
  size_t bytes = 0;
  for (const auto& extent : extents) bytes += extent.resident_bytes();
  return static_cast<int64_t>(bytes);
}

void IndexMemory::Reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& origin : origins_) origin.store(0, std::memory_order_relaxed);
  for (ZeroedMemory& chunk : chunks_) chunk = ZeroedMemory();
}

}  // namespace monolith
