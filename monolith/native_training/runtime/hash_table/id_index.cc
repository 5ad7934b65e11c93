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
  Put(hash, {id, row, /*changed=*/true});
  ++size_;
}

uint32_t IdIndex::Erase(int64_t id, uint64_t hash) {
  const Entry entry = Locate(id, hash);
  if (entry.match == 0) return kNoRow;
  entry.bucket->meta &= ~(entry.match | entry.match << kChangedShift);
  const uint64_t n = num_buckets();
  for (uint64_t passed = Home(hash, n); At(passed) != entry.bucket;) {
    At(passed)->RemoveOverflow();
    if (++passed == n) passed = 0;
  }
  --size_;
  return entry.bucket->rows[__builtin_ctz(entry.match)];
}

void IdIndex::ForEach(absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
  for (uint64_t b = 0; b < num_buckets(); ++b) {
    const Bucket& bucket = *At(b);
    for (int slot = 0; slot < kSlots; ++slot) {
      if (bucket.meta >> slot & 1) visit(bucket.ids[slot], bucket.rows[slot]);
    }
  }
}

// The entries are in the buckets that are their homes, and on from there for as
// long as a bucket was passed by somebody.
template <typename Visit>
uint64_t IdIndex::ForEachSlotFrom(uint64_t place, uint64_t max_buckets,
                                  Visit visit) const {
  const uint64_t n = num_buckets();
  if (n == 0) return kPastPlaces;
  const uint64_t first = (place * n) >> 32;
  const uint64_t past = std::min(n, first + max_buckets);  // of homes
  const uint64_t end = past == n ? kPastPlaces : ((past << 32) + n - 1) / n;
  const auto visit_bucket = [&](Bucket* bucket) {
    for (int slot = 0; slot < kSlots; ++slot) {
      if ((bucket->meta >> slot & 1) == 0) continue;
      const uint64_t its_place = Place(HashId(bucket->ids[slot]));
      if (its_place >= place && its_place < end) visit(bucket, slot);
    }
  };
  for (uint64_t b = first; b < past; ++b) visit_bucket(At(b));
  uint64_t b = past - 1;
  for (uint64_t probes = past - first; probes < n; ++probes) {
    if (At(b)->overflow() == 0) break;
    if (++b == n) b = 0;
    visit_bucket(At(b));
  }
  return end;
}

uint64_t IdIndex::ForEachFrom(
    uint64_t place, uint64_t max_buckets,
    absl::FunctionRef<void(int64_t, uint32_t)> visit) const {
  return ForEachSlotFrom(place, max_buckets, [&](Bucket* bucket, int slot) {
    visit(bucket->ids[slot], bucket->rows[slot]);
  });
}

uint64_t IdIndex::TakeChangesFrom(
    uint64_t place, uint64_t max_buckets, bool only_changed,
    absl::FunctionRef<void(int64_t, uint32_t)> visit) {
  return ForEachSlotFrom(place, max_buckets, [&](Bucket* bucket, int slot) {
    const uint32_t mark = 1u << (kChangedShift + slot);
    if (only_changed && (bucket->meta & mark) == 0) return;
    bucket->meta &= ~mark;
    visit(bucket->ids[slot], bucket->rows[slot]);
  });
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
  std::vector<Content> waiting;
  for (uint64_t b = old; b-- > 0;) {
    const Bucket moved = *At(b);
    At(b)->meta = 0;
    for (int slot = 0; slot < kSlots; ++slot) {
      if ((moved.meta >> slot & 1) == 0) continue;
      const Content content = {moved.ids[slot], moved.rows[slot],
                               (moved.meta >> (kChangedShift + slot) & 1) != 0};
      const uint64_t home = Home(HashId(content.id), wanted);
      if (home < b || !PutBefore(wanted, home, content)) {
        waiting.push_back(content);
      }
    }
  }
  num_buckets_.store(wanted, std::memory_order_relaxed);
  capacity_ = wanted * 7 / 2;  // 70 % of kSlots
  for (const Content& content : waiting) Put(HashId(content.id), content);
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

bool IdIndex::PutBefore(uint64_t end, uint64_t home, const Content& content) {
  uint64_t b = home;
  while (b < end && At(b)->free_slots() == 0) ++b;
  if (b >= end) return false;
  for (uint64_t passed = home; passed < b; ++passed) At(passed)->AddOverflow();
  Bucket& bucket = *At(b);
  const int slot = __builtin_ctz(bucket.free_slots());
  bucket.ids[slot] = content.id;
  bucket.rows[slot] = content.row;
  bucket.meta |= 1u << slot;
  if (content.changed) bucket.meta |= 1u << (kChangedShift + slot);
  return true;
}

void IdIndex::Put(uint64_t hash, const Content& content) {
  const uint64_t n = num_buckets();
  const uint64_t home = Home(hash, n);
  if (PutBefore(n, home, content)) return;
  for (uint64_t passed = home; passed < n; ++passed) At(passed)->AddOverflow();
  PutBefore(home, 0, content);  // there is room: ReserveOne
}

}  // namespace monolith
