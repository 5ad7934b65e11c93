#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_TRIAL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_TRIAL_H_

#include <cstdint>
#include <vector>

namespace monolith {

// An id on trial as an OccurrenceFilter stores it, which is less than the id:
// nobody can tell which it was, but a filter counts on when it occurs again.
struct Trial {
  static constexpr int kFingerprintBits = 20;
  static constexpr int kMaxAge = 14;

  uint32_t bucket;
  uint32_t fingerprint;  // kFingerprintBits of the id's hash
  uint16_t occurrences;
  // Generations newer than that of its last occurrence, 0 .. kMaxAge.
  uint8_t age;

  friend bool operator==(const Trial& a, const Trial& b) {
    return a.bucket == b.bucket && a.fingerprint == b.fingerprint &&
           a.occurrences == b.occurrences && a.age == b.age;
  }
};

// The trials of one filter. They mean something only to filters of as many
// buckets, for the same part of the ids.
struct TrialBatch {
  uint32_t num_buckets = 0;
  std::vector<Trial> trials;
  // How many generations older the others have become, of which this does not
  // tell; 0 .. Trial::kMaxAge.
  uint32_t aged = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_TRIAL_H_
