#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_COUNTER_RANDOM_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_COUNTER_RANDOM_H_

#include <cstdint>

#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {

// Random 64-bit words by (seed, id, counter): SplitMix64 started at a key mixed
// from seed and id. Any word can be had without those before it.
//
// Thread safety: immutable. The words are part of the checkpoint contract: an
// id that was never updated is not saved, and reads the same value again only
// as long as they stay the same.
//
// Example:
//   CounterRandom random(seed, id);
//   double u = CounterRandom::LowUniform(random.Word(0));  // in (0, 1)
class CounterRandom {
 public:
  CounterRandom(uint64_t seed, int64_t id)
      : key_(MixBits(MixBits(seed + 0x8bb84b93962eacc9u) +
                     static_cast<uint64_t>(id))) {}

  uint64_t Word(uint64_t counter) const {
    return MixBits(key_ + (counter + 1) * 0x9e3779b97f4a7c15u);
  }

  // Two independent numbers of one word, each a multiple of 2^-33 in the open
  // interval (0, 1), spread symmetrically around 1/2.
  static double LowUniform(uint64_t word) {
    return ToUniform(static_cast<uint32_t>(word));
  }
  static double HighUniform(uint64_t word) {
    return ToUniform(static_cast<uint32_t>(word >> 32));
  }

 private:
  static double ToUniform(uint32_t bits) {
    return (static_cast<double>(bits) + 0.5) * 0x1p-32;
  }

  uint64_t key_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_COUNTER_RANDOM_H_
