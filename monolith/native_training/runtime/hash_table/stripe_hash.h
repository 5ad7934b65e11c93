#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_HASH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_HASH_H_

#include <cstdint>

namespace monolith {

// How the 64 bits of HashId(id) are divided: the highest choose the stripe, the
// others the place in the stripe's index.

inline constexpr int kStripeBits = 6;
inline constexpr int kNumStripes = 1 << kStripeBits;

inline int StripeOfHash(uint64_t hash) {
  return static_cast<int>(hash >> (64 - kStripeBits));
}

// The hash inside the stripe, its bits moved to the high end.
inline uint64_t HashInStripe(uint64_t hash) { return hash << kStripeBits; }

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_STRIPE_HASH_H_
