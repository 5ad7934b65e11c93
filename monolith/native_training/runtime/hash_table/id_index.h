#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_INDEX_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_INDEX_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "monolith/native_training/runtime/hash_table/index_memory.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

// A hash map from ids to row numbers, made for one cache miss a lookup.
//
// Entries lie in buckets of one cache line, five a bucket, at most 70 % full.
// An id's home is the bucket at its hash scaled to the number of buckets; where
// that is full, the id goes to the next bucket with room. Each bucket counts
// the entries that wanted to be in it or passed it on the way from home but lie
// further on ("overflow"). A search ends at the first bucket that nobody
// passed, so ids that are not there are found out as fast as those that are,
// and erasing leaves no tombstones. A bucket also marks which of its entries
// have changed since somebody last asked for the changes.
//
// Because scaling keeps the order of hashes, growing moves the entries up in
// one sweep from the last bucket to the first, where they are, and any number
// of buckets will do: growth is by a quarter, not by doubling. The indexes of a
// table have different phases, so that they do not all grow at the same size.
//
// `hash` is always HashId(id). An index is that of one stripe, so the bits
// which chose the stripe are not used again.
//
// Thread safety: const functions beside each other, others alone. HomeBucket
// may be called at any time, even beside others.
//
// Example:
//   index.Attach(memory, stripe);
//   if (absl::Status s = index.ReserveOne(); !s.ok()) return s;
//   index.Insert(id, hash, row);
//   uint32_t row = index.Find(id, hash);  // RowArena::kNoRow if absent
class IdIndex {
 public:
  static constexpr uint32_t kNoRow = RowArena::kNoRow;

  IdIndex() = default;
  IdIndex(const IdIndex&) = delete;
  IdIndex& operator=(const IdIndex&) = delete;

  // Says where the buckets are; before anything else. The index of each stripe
  // grows at sizes of its own.
  void Attach(IndexMemory& memory, int stripe) {
    memory_ = &memory;
    stripe_ = stripe;
  }

  int64_t size() const { return static_cast<int64_t>(size_); }
  // Of kSlots entries each.
  uint64_t num_buckets() const {
    return num_buckets_.load(std::memory_order_relaxed);
  }

  // Where a search begins. To be read by FindAtHome, or, beside others that
  // change the index, only to be prefetched.
  const void* HomeBucket(uint64_t hash) const {
    const uint64_t n = num_buckets();
    return n == 0 ? &kEmptyBucket : At(Home(hash, n));
  }

  // Whether the home bucket of an id alone tells its row, kNoRow if it has
  // none. If not, Find has to, and the next bucket comes into the cache.
  static bool FindAtHome(const void* home_bucket, int64_t id, uint32_t* row) {
    const Bucket& bucket = *static_cast<const Bucket*>(home_bucket);
    const uint32_t match = bucket.Match(id);
    *row = match != 0 ? bucket.rows[__builtin_ctz(match)] : kNoRow;
    if (match != 0 || bucket.overflow() == 0) return true;
    PrefetchLine(&bucket + 1);
    return false;
  }

  // The row of an id; kNoRow if it has none.
  uint32_t Find(int64_t id, uint64_t hash) const {
    const Entry entry = Locate(id, hash);
    return entry.match == 0 ? kNoRow
                            : entry.bucket->rows[__builtin_ctz(entry.match)];
  }

  // Find, and marks the entry as changed.
  uint32_t FindToChange(int64_t id, uint64_t hash) {
    const Entry entry = Locate(id, hash);
    if (entry.match == 0) return kNoRow;
    const uint32_t mark = entry.match << kChangedShift;
    if ((entry.bucket->meta & mark) == 0) entry.bucket->meta |= mark;
    return entry.bucket->rows[__builtin_ctz(entry.match)];
  }

  // Makes room for one more entry; ResourceExhausted leaves all as it was.
  absl::Status ReserveOne() {
    if (size_ < capacity_) return absl::OkStatus();
    return Grow();
  }

  // Adds an id that is not there, as changed, after ReserveOne.
  void Insert(int64_t id, uint64_t hash, uint32_t row);

  // Removes an id; its row, or kNoRow if it was not there.
  uint32_t Erase(int64_t id, uint64_t hash);

  // Calls visit(id, row) for every entry. visit may Erase that very entry.
  void ForEach(absl::FunctionRef<void(int64_t, uint32_t)> visit) const;

  // Where a walk over all entries in parts begins and ends. An entry's place
  // depends on its id alone.
  static constexpr uint64_t kFirstPlace = 0;
  static constexpr uint64_t kPastPlaces = uint64_t{1} << 32;

  // Calls visit(id, row) for the entries at the places from `place` on that are
  // the home of about `max_buckets` buckets, and returns where the walk goes
  // on. Between two calls others may change the index, and it may grow: what
  // stays in it is visited exactly once.
  uint64_t ForEachFrom(uint64_t place, uint64_t max_buckets,
                       absl::FunctionRef<void(int64_t, uint32_t)> visit) const;

  // ForEachFrom, for the entries that have changed alone if `only_changed`;
  // those visited count as unchanged from now on.
  uint64_t TakeChangesFrom(uint64_t place, uint64_t max_buckets,
                           bool only_changed,
                           absl::FunctionRef<void(int64_t, uint32_t)> visit);

  // Forgets everything; for when the memory is reset.
  void Clear();

 private:
  static constexpr int kSlots = 5;
  static constexpr uint32_t kOccupied = (1u << kSlots) - 1;
  static constexpr int kChangedShift = kSlots;
  static constexpr int kOverflowShift = 2 * kSlots;
  static constexpr uint32_t kOneOverflow = 1u << kOverflowShift;
  // As many as this are too many to count, and stay.
  static constexpr uint32_t kMostOverflow = ~uint32_t{0} >> kOverflowShift;

  struct alignas(64) Bucket {
    // A bit for each occupied slot that holds the id; at most one is set.
    uint32_t Match(int64_t id) const {
      uint32_t match = 0;
      for (int i = 0; i < kSlots; ++i) {
        match |= static_cast<uint32_t>(ids[i] == id) << i;
      }
      return match & meta;
    }
    uint32_t free_slots() const { return ~meta & kOccupied; }
    uint32_t overflow() const { return meta >> kOverflowShift; }
    void AddOverflow() {
      if (overflow() < kMostOverflow) meta += kOneOverflow;
    }
    void RemoveOverflow() {
      if (overflow() < kMostOverflow) meta -= kOneOverflow;
    }

    int64_t ids[kSlots];
    uint32_t rows[kSlots];
    // Low 5 bits: slots occupied. The next 5: of these, changed. The others:
    // overflow.
    uint32_t meta;
  };
  static_assert(sizeof(Bucket) == IndexMemory::kBucketBytes,
                "a bucket is one cache line");

  // Where an id is: match is 0 if it is nowhere, and one bit otherwise.
  struct Entry {
    Bucket* bucket;
    uint32_t match;
  };

  static const Bucket kEmptyBucket;

  static uint64_t Place(uint64_t hash) { return HashInStripe(hash) >> 32; }

  static uint64_t Home(uint64_t hash, uint64_t num_buckets) {
    return (Place(hash) * num_buckets) >> 32;
  }

  Entry Locate(int64_t id, uint64_t hash) const {
    const uint64_t n = num_buckets();
    uint64_t b = Home(hash, n);
    for (uint64_t probes = 0; probes < n; ++probes) {
      Bucket* const bucket = At(b);
      const uint32_t match = bucket->Match(id);
      if (match != 0) return {bucket, match};
      if (bucket->overflow() == 0) break;
      if (++b == n) b = 0;
    }
    return {nullptr, 0};
  }

  Bucket* At(uint64_t bucket) const {
    return static_cast<Bucket*>(memory_->Bucket(stripe_, bucket));
  }

  // Calls visit(bucket, slot) for the entries of ForEachFrom.
  template <typename Visit>
  uint64_t ForEachSlotFrom(uint64_t place, uint64_t max_buckets,
                           Visit visit) const;
  absl::Status Grow();
  uint64_t NextNumBuckets() const;
  // An entry that is put somewhere.
  struct Content {
    int64_t id;
    uint32_t row;
    bool changed;
  };
  // Puts an entry into the first bucket with room from its home on. False, and
  // nothing done, if there is none before bucket `end`.
  bool PutBefore(uint64_t end, uint64_t home, const Content& content);
  void Put(uint64_t hash, const Content& content);

  IndexMemory* memory_ = nullptr;
  int stripe_ = 0;
  // Atomic for HomeBucket alone, which may see an old number; the prefetch is
  // then in vain.
  std::atomic<uint64_t> num_buckets_{0};
  uint64_t size_ = 0;
  uint64_t capacity_ = 0;  // entries it may hold before it grows
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_INDEX_H_
