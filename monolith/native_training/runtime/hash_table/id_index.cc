#include "monolith/native_training/runtime/hash_table/id_index.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

constexpr double kGrowth = 1.25;
// Below this many buckets an index doubles, and phases make no difference.
constexpr uint64_t kFirstPhasedSize = 64;

}  // namespace

void IdIndex::Insert(int64_t id, uint64_t hash, uint32_t row) {
  Place(buckets(), num_buckets(), id, hash, row);
  ++size_;
}

uint32_t IdIndex::Erase(int64_t id, uint64_t hash) {
  const uint64_t n = num_buckets();
  Bucket* const all = buckets();
  const uint64_t home = Home(hash, n);
  uint64_t b = home;
  for (uint64_t probes = 0; probes < n; ++probes) {
    Bucket& bucket = all[b];
    const uint32_t match = bucket.Match(id);
    if (match != 0) {
      bucket.meta &= ~match;
      for (uint64_t passed = home; passed != b;) {
        all[passed].meta -= kOneOverflow;
        if (++passed == n) passed = 0;
      }
      --size_;
      return bucket.rows[__builtin_ctz(match)];
    }
    if (bucket.overflow() == 0) return kNoRow;
    if (++b == n) b = 0;
  }
  return kNoRow;
}

void IdIndex::ForEach(absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
  ForEachIn(0, num_buckets(), visit);
}

// A place is a hash, scaled like Home scales it, so that it outlives growth.
uint64_t IdIndex::ForEachFrom(
    uint64_t place, uint64_t max_buckets,
    absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
  const uint64_t n = num_buckets();
  const uint64_t first = (place * n) >> 32;
  const uint64_t last = std::min(n, first + max_buckets);
  ForEachIn(first, last, visit);
  return last == n ? kPastEntries : ((last << 32) + n - 1) / n;
}

void IdIndex::ForEachIn(
    uint64_t first, uint64_t last,
    absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
  for (uint64_t b = first; b < last; ++b) {
    const Bucket& bucket = buckets()[b];
    for (int slot = 0; slot < kSlots; ++slot) {
      if (bucket.meta >> slot & 1) visit(bucket.ids[slot], bucket.rows[slot]);
    }
  }
}

void IdIndex::Clear() {
  buckets_.store(nullptr, std::memory_order_relaxed);
  num_buckets_.store(0, std::memory_order_relaxed);
  size_ = 0;
  capacity_ = 0;
  memory_ = ZeroedMemory();
}

absl::Status IdIndex::Grow() {
  const uint64_t wanted = NextNumBuckets();
  auto memory =
      ZeroedMemory::Create(wanted * sizeof(Bucket), ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  auto* const grown = static_cast<Bucket*>(memory->data());
  ForEach([&](int64_t id, uint32_t row) {
    Place(grown, wanted, id, HashId(id), row);
  });
  buckets_.store(grown, std::memory_order_relaxed);
  num_buckets_.store(wanted, std::memory_order_relaxed);
  capacity_ = wanted * 4;  // 80 % of kSlots
  memory_ = *std::move(memory);
  return absl::OkStatus();
}

uint64_t IdIndex::NextNumBuckets() const {
  const uint64_t n = num_buckets();
  if (n < kFirstPhasedSize / 2) return std::max<uint64_t>(1, 2 * n);
  if (n < kFirstPhasedSize) {
    return static_cast<uint64_t>(static_cast<double>(kFirstPhasedSize) *
                                 std::pow(kGrowth, growth_phase_));
  }
  return static_cast<uint64_t>(static_cast<double>(n) * kGrowth);
}

void IdIndex::Place(Bucket* buckets, uint64_t num_buckets, int64_t id,
                    uint64_t hash, uint32_t row) {
  uint64_t b = Home(hash, num_buckets);
  while (buckets[b].free_slots() == 0) {
    buckets[b].meta += kOneOverflow;
    if (++b == num_buckets) b = 0;
  }
  Bucket& bucket = buckets[b];
  const int slot = __builtin_ctz(bucket.free_slots());
  bucket.ids[slot] = id;
  bucket.rows[slot] = row;
  bucket.meta |= 1u << slot;
}

}  // namespace monolith
