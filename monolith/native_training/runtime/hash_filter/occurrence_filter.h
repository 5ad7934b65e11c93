#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_filter/generations.h"
#include "monolith/native_training/runtime/hash_filter/trial.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {

// Counts how often ids on trial have occurred, in a fixed amount of memory, and
// tells when an id has occurred often enough to be admitted to a table.
//
// How: a trial is a slot of 5 bytes, 20 bits of the id's hash, a count of 16
// bits, and the generation in which the id last occurred. A bucket is a cache
// line with 12 slots; an id may lie in either of two, and a new one goes to
// the emptier. Where both are full, it takes the place of a trial of the oldest
// generation there, that with the fewest occurrences. See generations.h for how
// these stay small, so that they tell well enough who has not occurred for
// longest.
//
// Guarantees, for a table's filters together (a table has one a stripe):
//   memory   at most 8 bytes per id of the capacity, for less than 100,000 ids
//            and 20 KiB more. None before the first trial.
//   late     an id is admitted late only if its trial was forgotten, or ended
//            with that of another id (see below). What matters is how many
//            different other ids occur on trial between two of its occurrences;
//            how often each of them does is all the same. Each time that they
//            are fewer than `capacity` less than 1 trial in 5,000 is lost, and
//            less than 1 in 50,000 where they are fewer than 3/4 of it; of a
//            capacity below 100,000, 1 in 300. Where they are more than 1.5
//            times the capacity nearly all are, and begin at 0 again.
//   early    an id is admitted early only by being taken for another, which
//            happens to less than 1 in 20,000 ids that are new to a full
//            filter. The two are counted as one, and the count ends when it
//            admits the first of them.
// occurrence_filter_benchmark prints the rates.
//
// Thread safety: guard it like the stripe whose ids these are, but for Prefetch
// and memory_bytes, which may be called at any time.
//
// Example:
//   OccurrenceFilter filter(capacity, kNumStripes);
//   const int occurrences = 1, threshold = 5;
//   auto admitted = filter.Admit(HashId(id), occurrences, threshold);
//   if (admitted.ok() && *admitted) Insert(id);
class OccurrenceFilter {
 public:
  // A filter for one of `num_parts` parts, equal by hash, of `capacity` ids on
  // trial. Both at least 1.
  OccurrenceFilter(int64_t capacity, int num_parts);

  OccurrenceFilter(const OccurrenceFilter&) = delete;
  OccurrenceFilter& operator=(const OccurrenceFilter&) = delete;

  // Counts `occurrences` of an id. Returns whether it has now occurred
  // `threshold` times, 1 .. 65535; its trial is then over and forgotten.
  // ResourceExhausted if there is no memory; nothing is counted then.
  absl::StatusOr<bool> Admit(uint64_t hash,  // HashId(id)
                             uint32_t occurrences, uint32_t threshold);

  // Ends the trial of an id, if it is on trial.
  void Forget(uint64_t hash);

  // Brings the buckets of a hash into the cache.
  void Prefetch(uint64_t hash) const;

  // Forgets all trials and frees the memory.
  void Clear();

  // How many buckets its trials lie in.
  uint32_t num_buckets() const { return num_buckets_; }

  // Appends all trials, bucket by bucket.
  void ExportTrials(std::vector<Trial>* trials) const;

  // A walk over all trials in parts, between which others may change the
  // filter. A trial that goes on all the time is in exactly one of them, and
  // its age is that at the beginning.
  struct Walk {
    bool is_over() const { return bucket == end; }

    uint32_t bucket;
    uint32_t end;
    uint64_t num_begun;  // generations, at the beginning
  };
  Walk BeginWalk() const;
  // Appends the trials of the next `max_buckets` buckets.
  void ExportNext(Walk* walk, uint32_t max_buckets,
                  std::vector<Trial>* trials) const;

  // BeginWalk and ExportNext, for saves that add up. What TakeNext appends
  // counts as unchanged from then on: with `only_changed`, trials that have
  // begun or occurred since alone, whose generations began after those of
  // others: `aged` is how many have begun since the last BeginTaking.
  Walk BeginTaking(uint32_t* aged);
  void TakeNext(Walk* walk, uint32_t max_buckets, bool only_changed,
                std::vector<Trial>* trials);

  // Makes all trials older by so many generations.
  void Age(uint32_t generations);

  // Adds trials that a filter with as many buckets has exported, from the same
  // part of the ids, several times if there were several such filters. Of a
  // trial that is there already the higher count and the later occurrence
  // count. Where a bucket is full, a trial takes the place of an older one or
  // is left out. InvalidArgument, and nothing is added, if one cannot be.
  absl::Status ImportTrials(absl::Span<const Trial> trials);

  int64_t memory_bytes() const {
    return memory_bytes_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr int kSlots = 12;
  static constexpr uint32_t kAllSlots = (1u << kSlots) - 1;
  static constexpr uint8_t kGenerationMask = 15;

  struct alignas(64) Bucket {
    // A bit for each slot that holds the fingerprint.
    uint32_t Match(uint32_t fingerprint) const;
    uint32_t FreeSlots() const;

    uint16_t fingerprints[kSlots];  // their low 16 bits
    uint16_t occurrences[kSlots];
    // High 4 bits: of the fingerprint. Low 4: label of the generation, kNone
    // where the slot is free.
    uint8_t marks[kSlots];
    // A bit for each slot that nobody has taken since it occurred.
    uint16_t changed;
  };
  static_assert(sizeof(Bucket) == 64, "a bucket is one cache line");

  struct Slot {
    Bucket* bucket;
    int index;
  };

  uint32_t FirstBucket(uint64_t hash) const;
  uint32_t SecondBucket(uint64_t hash) const;
  // False if there is no such trial.
  static bool Find(Bucket* first, Bucket* second, uint32_t fingerprint,
                   Slot* slot);
  // False if no slot is free; else one of the emptier bucket.
  static bool FindFree(Bucket* first, Bucket* second, Slot* slot);
  // Of two full buckets, the trial that is to be forgotten first.
  Slot FindExpendable(Bucket* first, Bucket* second) const;
  // Begins a trial in a free slot, without an occurrence yet.
  static void Begin(Slot slot, uint32_t fingerprint);
  void End(Slot slot);
  static void MarkChanged(Slot slot);
  // Makes the trial of a slot one of a generation.
  void Join(Slot slot, uint8_t generation);
  // Its id has occurred.
  void JoinNewest(Slot slot);
  void Import(const Trial& trial);
  // Appends the trials of the next buckets of a walk, of each bucket those in
  // the slots that slots_of(bucket) names.
  template <typename SlotsOf>
  void Append(Walk* walk, uint32_t max_buckets, SlotsOf slots_of,
              std::vector<Trial>* trials) const;
  void Merge(Generations::Merger merger);
  absl::Status Allocate();
  // How many trials fill one.
  static uint32_t GenerationSize(uint32_t num_buckets);

  const uint32_t num_buckets_;
  Generations generations_;
  uint64_t num_begun_when_taken_ = 0;
  ZeroedMemory memory_;
  std::atomic<Bucket*> buckets_{nullptr};
  std::atomic<int64_t> memory_bytes_{0};
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_
