#include "monolith/native_training/runtime/hash_table/id_index.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

constexpr double kGrowth = 1.25;
// Below this many buckets an index doubles, and phases make no difference.
constexpr uint64_t kFirstPhasedSize = 64;

}  // namespace

const IdIndex::Bucket IdIndex::kEmptyBucket = {};

void IdIndex::Insert(int64_t id, uint64_t hash, uint32_t row) {
  Place(id, hash, row);
  ++size_;
}

uint32_t IdIndex::Erase(int64_t id, uint64_t hash) {
  const uint64_t n = num_buckets();
  const uint64_t home = Home(hash, n);
  uint64_t b = home;
  for (uint64_t probes = 0; probes < n; ++probes) {
    Bucket& bucket = *At(b);
    const uint32_t match = bucket.Match(id);
    if (match != 0) {
      bucket.meta &= ~match;
      for (uint64_t passed = home; passed != b;) {
        At(passed)->meta -= kOneOverflow;
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
    const Bucket& bucket = *At(b);
    for (int slot = 0; slot < kSlots; ++slot) {
      if (bucket.meta >> slot & 1) visit(bucket.ids[slot], bucket.rows[slot]);
    }
  }
}

void IdIndex::Clear() {
  num_buckets_.store(0, std::memory_order_relaxed);
  size_ = 0;
  capacity_ = 0;
}

// An entry's new home is not before its old one, so from the last bucket down
// entries move into buckets that have been emptied. The few whose new home is
// before the bucket they are in, or which would begin again at bucket 0, wait
// until all are.
absl::Status IdIndex::Grow() {
  const uint64_t old = num_buckets();
  const uint64_t wanted = NextNumBuckets();
  absl::Status status = memory_->Reserve(wanted);
  if (!status.ok()) return status;
  std::vector<std::pair<int64_t, uint32_t>> waiting;
  for (uint64_t b = old; b-- > 0;) {
    const Bucket moved = *At(b);
    At(b)->meta = 0;
    for (int slot = 0; slot < kSlots; ++slot) {
      if ((moved.meta >> slot & 1) == 0) continue;
      const int64_t id = moved.ids[slot];
      const uint64_t home = Home(HashId(id), wanted);
      if (home < b || !PlaceBefore(wanted, home, id, moved.rows[slot])) {
        waiting.emplace_back(id, moved.rows[slot]);
      }
    }
  }
  num_buckets_.store(wanted, std::memory_order_relaxed);
  capacity_ = wanted * 7 / 2;  // 70 % of kSlots
  for (const auto& [id, row] : waiting) Place(id, HashId(id), row);
  return absl::OkStatus();
}

uint64_t IdIndex::NextNumBuckets() const {
  const uint64_t n = num_buckets();
  if (n < kFirstPhasedSize / 2) return std::max<uint64_t>(1, 2 * n);
  if (n < kFirstPhasedSize) {
    const double phase = static_cast<double>(stripe_) / kNumStripes;
    return static_cast<uint64_t>(static_cast<double>(kFirstPhasedSize) *
                                 std::pow(kGrowth, phase));
  }
  return static_cast<uint64_t>(static_cast<double>(n) * kGrowth);
}

bool IdIndex::PlaceBefore(uint64_t end, uint64_t home, int64_t id,
                          uint32_t row) {
  uint64_t b = home;
  while (b < end && At(b)->free_slots() == 0) ++b;
  if (b >= end) return false;
  for (uint64_t passed = home; passed < b; ++passed) {
    At(passed)->meta += kOneOverflow;
  }
  Bucket& bucket = *At(b);
  const int slot = __builtin_ctz(bucket.free_slots());
  bucket.ids[slot] = id;
  bucket.rows[slot] = row;
  bucket.meta |= 1u << slot;
  return true;
}

void IdIndex::Place(int64_t id, uint64_t hash, uint32_t row) {
  const uint64_t n = num_buckets();
  const uint64_t home = Home(hash, n);
  if (PlaceBefore(n, home, id, row)) return;
  for (uint64_t passed = home; passed < n; ++passed) {
    At(passed)->meta += kOneOverflow;
  }
  PlaceBefore(home, 0, id, row);  // there is room: ReserveOne
}

}  // namespace monolith
