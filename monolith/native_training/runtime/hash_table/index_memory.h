#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INDEX_MEMORY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INDEX_MEMORY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "absl/status/status.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {

// The cache lines ("buckets") of which the indexes of a table's stripes are
// made. Each stripe has an array of its own, which grows where it is.
//
//   page   consecutive buckets of one stripe
//   layer  the n-th page of every stripe, side by side
//   chunk  one mapping of the kernel's: as many layers as all chunks before it
//
// Stripes are of about the same size, so their pages together fill huge pages,
// which the index of one stripe would not, and what is beyond the last bucket
// of a stripe takes hardly any memory: the system gives it when it is touched.
//
// Thread safety: Reserve and memory_bytes may be called at any time; Bucket may
// be used beside them for what has been reserved. Reset excludes
// everything else.
//
// Example:
//   if (absl::Status s = memory.Reserve(10); !s.ok()) return s;
//   memory.Bucket(stripe, 9);  // 64 bytes of zeros
class IndexMemory {
 public:
  static constexpr size_t kBucketBytes = 64;

  IndexMemory() = default;
  IndexMemory(const IndexMemory&) = delete;
  IndexMemory& operator=(const IndexMemory&) = delete;

  // Lets every stripe use its buckets [0, num_buckets); new ones are zero.
  // ResourceExhausted, if the system has no memory, leaves all as it was.
  absl::Status Reserve(uint64_t num_buckets);

  // Of a bucket that is not reserved: an address that is good for nothing but
  // prefetching.
  void* Bucket(int stripe, uint64_t bucket) const {
    const uint64_t layer = bucket / kPageBuckets;
    const uintptr_t origin =
        origins_[ChunkOf(layer)].load(std::memory_order_relaxed);
    return reinterpret_cast<void*>(origin + layer * kLayerBytes +
                                   static_cast<uintptr_t>(stripe) * kPageBytes +
                                   bucket % kPageBuckets * kBucketBytes);
  }

  // Bytes that the buckets in use have made resident.
  int64_t memory_bytes() const;

  // Takes back all buckets and returns their memory to the system.
  void Reset();

 private:
  static constexpr size_t kPageBytes = size_t{64} << 10;
  static constexpr uint64_t kPageBuckets = kPageBytes / kBucketBytes;
  static constexpr size_t kLayerBytes = kNumStripes * kPageBytes;
  static constexpr size_t kChunks = 20;

  // Chunk 0 is layer 0, chunk n > 0 the layers from 2^(n-1) to 2^n - 1.
  static size_t ChunkOf(uint64_t layer) {
    return 63 - static_cast<size_t>(__builtin_clzll(2 * layer + 1));
  }
  static uint64_t FirstLayer(size_t chunk) {
    return chunk == 0 ? 0 : uint64_t{1} << (chunk - 1);
  }

  absl::Status MapChunk(size_t chunk);

  // Where layer 0 would be if the chunk's layers had others before them.
  std::array<std::atomic<uintptr_t>, kChunks> origins_{};
  mutable std::mutex mutex_;
  std::array<ZeroedMemory, kChunks> chunks_;  // guarded by mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INDEX_MEMORY_H_
