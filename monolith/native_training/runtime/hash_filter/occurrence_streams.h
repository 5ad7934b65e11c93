#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_STREAMS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_STREAMS_H_

#include <cstdint>
#include <vector>

namespace monolith {

// Streams of ids that are hard on an occurrence filter, for tests and
// benchmarks. Each is the same every time, and `length` entries long or a
// little longer.

struct Occurrence {
  int64_t id;
  uint32_t times;
};

// Blocks of `block` ids that are new. A quarter of them occurs threshold - 1
// times, then each of the others in turn, all that `repeats` times, and then
// that quarter once more. So before each last occurrence all others of the
// block have occurred.
std::vector<Occurrence> RepeatingBlocks(int64_t block, int repeats,
                                        uint32_t threshold, int64_t length);

// `regulars` ids take turns on and on. In place of one in ten comes an id that
// is new, or one of the last `memory` new ones again; these occur `times` times
// at once.
std::vector<Occurrence> RegularsAndStrangers(int64_t regulars, int64_t memory,
                                             uint32_t times, int64_t length);

// Ids 1 .. universe, the id k with a probability in proportion to
// k^-exponent, exponent > 1, between as many others that occur only once. Each
// occurs `times` times at once.
std::vector<Occurrence> ZipfAndStrangers(int64_t universe, double exponent,
                                         uint32_t times, int64_t length);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_OCCURRENCE_STREAMS_H_
