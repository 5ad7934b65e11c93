#include "monolith/native_training/runtime/hash_filter/occurrence_streams.h"

#include <cmath>
#include <cstddef>
#include <random>

namespace monolith {
namespace {

constexpr int64_t kFirstStranger = int64_t{1} << 40;

// In [0, 1).
double Uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

}  // namespace

std::vector<Occurrence> RepeatingBlocks(int64_t block, int repeats,
                                        uint32_t threshold, int64_t length) {
  std::vector<Occurrence> stream;
  const int64_t quarter = block / 4;
  for (int64_t first = 0; static_cast<int64_t>(stream.size()) < length;
       first += block) {
    const auto occur = [&](int64_t begin, int64_t end, uint32_t times) {
      for (int64_t i = begin; i < end; ++i)
        stream.push_back({first + i, times});
    };
    occur(0, quarter, threshold - 1);
    for (int i = 0; i < repeats; ++i) occur(quarter, block, 1);
    occur(0, quarter, 1);
  }
  return stream;
}

std::vector<Occurrence> RegularsAndStrangers(int64_t regulars, int64_t memory,
                                             uint32_t times, int64_t length) {
  std::mt19937_64 random(5);
  std::vector<Occurrence> stream;
  int64_t known = 0;  // strangers
  while (static_cast<int64_t>(stream.size()) < length) {
    const auto turn = static_cast<int64_t>(stream.size());
    if (random() % 10 != 0) {
      stream.push_back({turn % regulars, 1});
    } else if (known < memory || random() % 2 == 0) {
      stream.push_back({kFirstStranger + known++, times});
    } else {
      const auto back =
          static_cast<int64_t>(random() % static_cast<uint64_t>(memory));
      stream.push_back({kFirstStranger + known - 1 - back, times});
    }
  }
  return stream;
}

std::vector<Occurrence> ZipfAndStrangers(int64_t universe, double exponent,
                                         uint32_t times, int64_t length) {
  std::mt19937_64 random(6);
  std::vector<Occurrence> stream;
  // The inverse of the distribution's continuous counterpart.
  const double power = 1 - exponent;
  const double tail = std::pow(static_cast<double>(universe), power) - 1;
  for (int64_t i = 0; i < length; i += 2) {
    const double rank = std::pow(1 + Uniform(random) * tail, 1 / power);
    stream.push_back({static_cast<int64_t>(rank), times});
    stream.push_back({kFirstStranger + i, times});
  }
  return stream;
}

}  // namespace monolith
