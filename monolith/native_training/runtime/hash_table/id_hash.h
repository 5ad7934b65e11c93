#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_HASH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_HASH_H_

#include <cstdint>

namespace monolith {

// Hashes of 64-bit ids. Any int64 is a legal id; strided, sequential and
// negative ids spread as evenly as random ones.
//
// Both functions are part of what other processes rely on: ShardOfId decides
// which parameter server owns a row, so changing it orphans every checkpoint's
// placement. The two hashes are independent: the ids of one shard still spread
// over all stripes and buckets of a table.

// A bijection of 64-bit words in which every input bit changes every output
// bit with probability close to 1/2. The constants are those of SplitMix64
// (Steele, Lea, Flood 2014), variant 13 of Stafford's mixers.
inline uint64_t MixBits(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  x ^= x >> 31;
  return x;
}

// Where an id lives inside a table. Distinct ids have distinct hashes.
inline uint64_t HashId(int64_t id) {
  return MixBits(static_cast<uint64_t>(id) + 0x9e3779b97f4a7c15u);
}

// Maps a uniformly distributed word to [0, n) by its high bits.
inline uint64_t ReduceToRange(uint64_t hash, uint64_t n) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) *
                                static_cast<unsigned __int128>(n)) >>
                               64);
}

// The shard in [0, num_shards) that owns an id. num_shards >= 1.
inline int ShardOfId(int64_t id, int num_shards) {
  const uint64_t hash =
      MixBits(MixBits(static_cast<uint64_t>(id) ^ 0xd6e8feb86659fd93u));
  return static_cast<int>(
      ReduceToRange(hash, static_cast<uint64_t>(num_shards)));
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ID_HASH_H_
