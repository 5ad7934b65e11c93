#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {
namespace {

constexpr int kHighBits = Trial::kFingerprintBits - 16;
static_assert(Trial::kMaxAge == Generations::kMax - 1);

// Bytes of memory per id of the capacity.
constexpr int64_t kBytesPerId = 8;
constexpr int64_t kBucketBytes = 64;
constexpr double kPageBuckets = 4096.0 / kBucketBytes;
// Hash places more ids in one part than in another; four standard deviations
// are seldom exceeded. Small parts need more memory for it than kBytesPerId.
constexpr double kDeviations = 4;
constexpr double kSmallPartLoad = 0.75;

uint32_t NumBuckets(int64_t capacity, int num_parts, int slots) {
  const double ids = static_cast<double>(capacity) / num_parts;
  const double most_ids = ids + kDeviations * std::sqrt(ids);
  const double needed = std::ceil(most_ids / (kSmallPartLoad * slots));
  double affordable = std::floor(ids * kBytesPerId / kBucketBytes);
  if (affordable * kBucketBytes >= ZeroedMemory::kKernelBytes) {
    affordable -= std::fmod(affordable, kPageBuckets);  // it gives whole pages
  }
  return static_cast<uint32_t>(std::max(needed, affordable));
}

// The bits that choose neither the stripe nor the first bucket.
uint32_t Fingerprint(uint64_t hash) {
  return static_cast<uint32_t>(hash) & ((1u << Trial::kFingerprintBits) - 1);
}

// The higher, the less is lost with a trial: of two of an age it is the one
// with the fewer occurrences.
int Expendability(int age, uint16_t occurrences) {
  constexpr int kMostOccurrences = 65535;
  return age * (kMostOccurrences + 1) + kMostOccurrences - occurrences;
}

uint32_t ScaleToRange(uint64_t word, uint32_t n) {
  return static_cast<uint32_t>(((word >> 32) * n) >> 32);
}

}  // namespace

uint32_t OccurrenceFilter::Bucket::Match(uint32_t fingerprint) const {
  const auto low = static_cast<uint16_t>(fingerprint);
  const auto high = static_cast<uint8_t>(fingerprint >> 16);
  uint32_t match = 0;
  for (int i = 0; i < kSlots; ++i) {
    const bool equal = (fingerprints[i] == low) &
                       (marks[i] >> kHighBits == high) &
                       ((marks[i] & kGenerationMask) != 0);
    match |= static_cast<uint32_t>(equal) << i;
  }
  return match;
}

uint32_t OccurrenceFilter::Bucket::FreeSlots() const {
  uint32_t free = 0;
  for (int i = 0; i < kSlots; ++i) {
    free |= static_cast<uint32_t>((marks[i] & kGenerationMask) == 0) << i;
  }
  return free;
}

OccurrenceFilter::OccurrenceFilter(int64_t capacity, int num_parts)
    : num_buckets_(NumBuckets(capacity, num_parts, kSlots)),
      generations_(GenerationSize(num_buckets_)) {}

uint32_t OccurrenceFilter::GenerationSize(uint32_t num_buckets) {
  return num_buckets * kSlots / Generations::kMax + 1;
}

uint32_t OccurrenceFilter::FirstBucket(uint64_t hash) const {
  return ScaleToRange(HashInStripe(hash), num_buckets_);
}

uint32_t OccurrenceFilter::SecondBucket(uint64_t hash) const {
  return ScaleToRange(MixBits(hash), num_buckets_);
}

void OccurrenceFilter::Prefetch(uint64_t hash) const {
  // Null, or what Clear has freed since: a prefetch does no harm.
  const Bucket* const all = buckets_.load(std::memory_order_relaxed);
  __builtin_prefetch(all + FirstBucket(hash), 1);
  __builtin_prefetch(all + SecondBucket(hash), 1);
}

absl::StatusOr<bool> OccurrenceFilter::Admit(uint64_t hash,
                                             uint32_t occurrences,
                                             uint32_t threshold) {
  if (occurrences == 0) return false;
  const bool enough = occurrences >= threshold;
  Bucket* all = buckets_.load(std::memory_order_relaxed);
  if (!all) {
    if (enough) return true;
    absl::Status status = Allocate();
    if (!status.ok()) return status;
    all = buckets_.load(std::memory_order_relaxed);
  }
  Bucket* const first = all + FirstBucket(hash);
  Bucket* const second = all + SecondBucket(hash);
  const uint32_t fingerprint = Fingerprint(hash);
  Slot slot;
  if (Find(first, second, fingerprint, &slot)) {
    uint16_t& count = slot.bucket->occurrences[slot.index];
    if (enough || occurrences + count >= threshold) {
      End(slot);
      return true;
    }
    count = static_cast<uint16_t>(count + occurrences);
    MarkChanged(slot);
    JoinNewest(slot);
    return false;
  }
  if (enough) return true;
  if (!FindFree(first, second, &slot)) {
    slot = FindExpendable(first, second);
    End(slot);
  }
  Begin(slot, fingerprint);
  slot.bucket->occurrences[slot.index] = static_cast<uint16_t>(occurrences);
  JoinNewest(slot);
  return false;
}

bool OccurrenceFilter::Find(Bucket* first, Bucket* second, uint32_t fingerprint,
                            Slot* slot) {
  for (Bucket* const bucket : {first, second}) {
    const uint32_t match = bucket->Match(fingerprint);
    if (match == 0) continue;
    *slot = {bucket, __builtin_ctz(match)};
    return true;
  }
  return false;
}

bool OccurrenceFilter::FindFree(Bucket* first, Bucket* second, Slot* slot) {
  const uint32_t free_first = first->FreeSlots();
  const uint32_t free_second = second->FreeSlots();
  if ((free_first | free_second) == 0) return false;
  *slot = __builtin_popcount(free_first) >= __builtin_popcount(free_second)
              ? Slot{first, __builtin_ctz(free_first)}
              : Slot{second, __builtin_ctz(free_second)};
  return true;
}

OccurrenceFilter::Slot OccurrenceFilter::FindExpendable(Bucket* first,
                                                        Bucket* second) const {
  Slot slot = {first, 0};
  int most = -1;
  for (Bucket* const bucket : {first, second}) {
    for (int i = 0; i < kSlots; ++i) {
      const int expendability =
          Expendability(generations_.Age(bucket->marks[i] & kGenerationMask),
                        bucket->occurrences[i]);
      if (expendability <= most) continue;
      slot = {bucket, i};
      most = expendability;
    }
  }
  return slot;
}

void OccurrenceFilter::Begin(Slot slot, uint32_t fingerprint) {
  slot.bucket->fingerprints[slot.index] = static_cast<uint16_t>(fingerprint);
  slot.bucket->occurrences[slot.index] = 0;
  slot.bucket->marks[slot.index] =
      static_cast<uint8_t>(fingerprint >> 16 << kHighBits);
  MarkChanged(slot);
}

void OccurrenceFilter::MarkChanged(Slot slot) {
  slot.bucket->changed =
      static_cast<uint16_t>(slot.bucket->changed | 1u << slot.index);
}

void OccurrenceFilter::Forget(uint64_t hash) {
  Bucket* const all = buckets_.load(std::memory_order_relaxed);
  Slot slot;
  if (all && Find(all + FirstBucket(hash), all + SecondBucket(hash),
                  Fingerprint(hash), &slot)) {
    End(slot);
  }
}

void OccurrenceFilter::End(Slot slot) {
  uint8_t& mark = slot.bucket->marks[slot.index];
  generations_.Remove(mark & kGenerationMask);
  mark = 0;
}

void OccurrenceFilter::Join(Slot slot, uint8_t generation) {
  uint8_t& mark = slot.bucket->marks[slot.index];
  const uint8_t before = mark & kGenerationMask;
  if (before != Generations::kNone) generations_.Remove(before);
  mark = static_cast<uint8_t>((mark & ~kGenerationMask) | generation);
  generations_.Add(generation);
}

void OccurrenceFilter::JoinNewest(Slot slot) {
  const uint8_t mark = slot.bucket->marks[slot.index];
  if ((mark & kGenerationMask) == generations_.newest()) return;
  Join(slot, generations_.newest());
  const auto merger = generations_.BeginNextIfFull();
  if (merger.has_value()) Merge(*merger);
}

void OccurrenceFilter::Merge(Generations::Merger merger) {
  Bucket* const all = buckets_.load(std::memory_order_relaxed);
  // The labels differ in these bits.
  const auto change = static_cast<uint8_t>(merger.from ^ merger.into);
  for (uint32_t b = 0; b < num_buckets_; ++b) {
    for (uint8_t& mark : all[b].marks) {
      const bool merged = (mark & kGenerationMask) == merger.from;
      mark = static_cast<uint8_t>(mark ^ (merged ? change : 0));
    }
  }
}

absl::Status OccurrenceFilter::Allocate() {
  auto memory = ZeroedMemory::Create(num_buckets_ * sizeof(Bucket),
                                     ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  // All of it is taken at once, so that what is said of it is so.
  std::memset(memory_.data(), 0, memory_.size());
  buckets_.store(static_cast<Bucket*>(memory_.data()),
                 std::memory_order_relaxed);
  memory_bytes_.store(static_cast<int64_t>(memory_.size()),
                      std::memory_order_relaxed);
  return absl::OkStatus();
}

void OccurrenceFilter::Clear() {
  buckets_.store(nullptr, std::memory_order_relaxed);
  memory_bytes_.store(0, std::memory_order_relaxed);
  memory_ = ZeroedMemory();
  generations_ = Generations(GenerationSize(num_buckets_));
  num_begun_when_taken_ = 0;
}

OccurrenceFilter::Walk OccurrenceFilter::BeginWalk() const {
  // Without memory there is nothing to walk over.
  const bool is_empty = !buckets_.load(std::memory_order_relaxed);
  return {is_empty ? num_buckets_ : 0, num_buckets_, generations_.num_begun()};
}

template <typename SlotsOf>
void OccurrenceFilter::Append(Walk* walk, uint32_t max_buckets,
                              SlotsOf slots_of,
                              std::vector<Trial>* trials) const {
  Bucket* const all = buckets_.load(std::memory_order_relaxed);
  const uint32_t end =
      all ? walk->bucket + std::min(max_buckets, walk->end - walk->bucket)
          : walk->end;
  const uint64_t begun = generations_.num_begun();
  const int younger =  // than at the beginning, but for a Clear since
      begun > walk->num_begun ? static_cast<int>(begun - walk->num_begun) : 0;
  for (uint32_t b = walk->bucket; all && b < end; ++b) {
    for (uint32_t left = slots_of(all[b]); left != 0; left &= left - 1) {
      const int i = __builtin_ctz(left);
      const uint8_t mark = all[b].marks[i];
      const uint32_t high = mark >> kHighBits;
      const int age = generations_.Age(mark & kGenerationMask) - younger;
      trials->push_back({b, high << 16 | all[b].fingerprints[i],
                         all[b].occurrences[i],
                         static_cast<uint8_t>(std::max(age, 0))});
    }
  }
  walk->bucket = end;
}

void OccurrenceFilter::ExportTrials(std::vector<Trial>* trials) const {
  Walk walk = BeginWalk();
  ExportNext(&walk, num_buckets_, trials);
}

void OccurrenceFilter::ExportNext(Walk* walk, uint32_t max_buckets,
                                  std::vector<Trial>* trials) const {
  Append(
      walk, max_buckets,
      [](const Bucket& bucket) { return kAllSlots & ~bucket.FreeSlots(); },
      trials);
}

OccurrenceFilter::Walk OccurrenceFilter::BeginTaking(uint32_t* aged) {
  const Walk walk = BeginWalk();
  *aged = static_cast<uint32_t>(std::min<uint64_t>(
      walk.num_begun - num_begun_when_taken_, Trial::kMaxAge));
  num_begun_when_taken_ = walk.num_begun;
  return walk;
}

void OccurrenceFilter::TakeNext(Walk* walk, uint32_t max_buckets,
                                bool only_changed, std::vector<Trial>* trials) {
  Append(
      walk, max_buckets,
      [only_changed](Bucket& bucket) {
        const uint32_t changed = std::exchange(bucket.changed, uint16_t{0});
        return kAllSlots & ~bucket.FreeSlots() &
               (only_changed ? changed : kAllSlots);
      },
      trials);
}

void OccurrenceFilter::Age(uint32_t generations) {
  Bucket* const all = buckets_.load(std::memory_order_relaxed);
  if (!all || generations == 0) return;
  const auto label_of = generations_.BeginEmpty(
      static_cast<int>(std::min<uint32_t>(generations, Trial::kMaxAge)));
  for (uint32_t b = 0; b < num_buckets_; ++b) {
    for (uint8_t& mark : all[b].marks) {
      mark = static_cast<uint8_t>((mark & ~kGenerationMask) |
                                  label_of[mark & kGenerationMask]);
    }
  }
}

absl::Status OccurrenceFilter::ImportTrials(absl::Span<const Trial> trials) {
  for (const Trial& trial : trials) {
    if (trial.bucket < num_buckets_ && trial.age <= Trial::kMaxAge &&
        trial.fingerprint >> Trial::kFingerprintBits == 0) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("a trial does not fit into the filter: bucket ",
                     trial.bucket, " of ", num_buckets_, ", fingerprint ",
                     trial.fingerprint, ", age ", static_cast<int>(trial.age)));
  }
  if (trials.empty()) return absl::OkStatus();
  if (!buckets_.load(std::memory_order_relaxed)) {
    absl::Status status = Allocate();
    if (!status.ok()) return status;
  }
  for (const Trial& trial : trials) Import(trial);
  const auto merger = generations_.BeginNextIfFull();
  if (merger.has_value()) Merge(*merger);
  return absl::OkStatus();
}

void OccurrenceFilter::Import(const Trial& trial) {
  Bucket* const bucket =
      buckets_.load(std::memory_order_relaxed) + trial.bucket;
  Slot slot;
  if (!Find(bucket, bucket, trial.fingerprint, &slot)) {
    if (!FindFree(bucket, bucket, &slot)) {
      slot = FindExpendable(bucket, bucket);
      const int age =
          generations_.Age(bucket->marks[slot.index] & kGenerationMask);
      if (Expendability(age, bucket->occurrences[slot.index]) <=
          Expendability(trial.age, trial.occurrences)) {
        return;
      }
      End(slot);
    }
    Begin(slot, trial.fingerprint);
  }
  uint16_t& occurrences = bucket->occurrences[slot.index];
  occurrences = std::max(occurrences, trial.occurrences);
  MarkChanged(slot);
  const uint8_t before = bucket->marks[slot.index] & kGenerationMask;
  if (before == Generations::kNone || trial.age < generations_.Age(before)) {
    Join(slot, generations_.LabelOfAge(trial.age));
  }
}

}  // namespace monolith
