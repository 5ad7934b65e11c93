#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {

// Counts how often ids on trial have occurred, in a fixed amount of memory, and
// tells when an id has occurred often enough to be admitted to a table.
//
// How: a trial is a slot of 5 bytes, 20 bits of the id's hash, a count of 16
// bits, and the generation in which the id last occurred. A bucket is a cache
// line with 12 slots; an id may lie in either of two, and a new one goes to
// the emptier. A new generation begins after as many new trials as a 15th of
// the slots, and the trials that are left in the oldest of 15 are forgotten.
// Where both buckets of a new id are full, it takes the place of the trial that
// has not occurred for longest.
//
// Guarantees, for a table's filters together (a table has one a stripe):
//   memory   8 bytes per id of the capacity, from 100,000 ids on, whatever
//            happens. None before the first trial.
//   early    an id is admitted too early only by being taken for another: less
//            than 1 in 20,000 ids at full capacity.
//   late     an id is admitted late only if its trial was forgotten: when about
//            1.4 times the capacity of other ids have gone on trial since it
//            last occurred. Before `capacity` other ids have occurred once
//            each, about 1 trial in 2,500 is forgotten. Where they occur again
//            and again it is up to 1 in 4, since generations count new trials
//            only, and so cannot tell those trials apart.
// occurrence_filter_benchmark prints both rates.
//
// Thread safety: guard Admit, Clear, ImportTrials and ExportTrials like the
// stripe whose ids these are. Prefetch and memory_bytes may be called at any
// time.
//
// Example:
//   OccurrenceFilter filter(capacity, kNumStripes);
//   const int occurrences = 1, threshold = 5;
//   auto admitted = filter.Admit(HashId(id), occurrences, threshold);
//   if (admitted.ok() && *admitted) Insert(id);
class OccurrenceFilter {
 public:
  // A trial as it is stored: of meaning only to a filter of the same capacity
  // and number of parts, for the same part of the ids.
  struct Trial {
    uint32_t bucket;
    uint32_t fingerprint;  // 20 bits
    uint16_t occurrences;
    uint8_t age;  // generations since the last occurrence, 0 .. 14
  };

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

  // Brings the buckets of a hash into the cache.
  void Prefetch(uint64_t hash) const;

  // Forgets all trials and frees the memory.
  void Clear();

  // All trials, in no particular order.
  std::vector<Trial> ExportTrials() const;

  // Adds trials that ExportTrials gave; each is expected not to be there yet.
  // InvalidArgument where one does not fit into this filter.
  absl::Status ImportTrials(absl::Span<const Trial> trials);

  int64_t memory_bytes() const {
    return memory_bytes_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr int kSlots = 12;
  static constexpr uint8_t kGenerations = 15;  // numbered from 1
  static constexpr uint8_t kGenerationMask = 15;

  struct alignas(64) Bucket {
    // A bit for each slot that holds the fingerprint.
    uint32_t Match(uint32_t fingerprint) const;
    uint32_t FreeSlots() const;

    uint16_t fingerprints[kSlots];  // their low 16 bits
    uint16_t occurrences[kSlots];
    // High 4 bits: of the fingerprint. Low 4: generation; 0: the slot is free.
    uint8_t marks[kSlots];
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
  // A free slot, or that of the oldest trial.
  Slot MakeRoom(Bucket* first, Bucket* second) const;
  int Age(uint8_t mark) const;
  // A trial has begun.
  void CountInGeneration();
  absl::Status Allocate();

  const uint32_t num_buckets_;
  const uint32_t generation_trials_;
  ZeroedMemory memory_;
  std::atomic<Bucket*> buckets_{nullptr};
  std::atomic<int64_t> memory_bytes_{0};
  uint8_t generation_ = 1;
  uint32_t trials_in_generation_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_FILTER_H_
