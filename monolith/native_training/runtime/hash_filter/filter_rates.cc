#include "monolith/native_training/runtime/hash_filter/filter_rates.h"

#include <cstdlib>

#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {

TestFilters::TestFilters(int64_t capacity) {
  for (int i = 0; i < kNumStripes; ++i) {
    filters_.emplace_back(capacity, kNumStripes);
  }
}

bool TestFilters::Admit(int64_t id, uint32_t occurrences, uint32_t threshold) {
  const uint64_t hash = HashId(id);
  auto admitted = filters_[static_cast<size_t>(StripeOfHash(hash))].Admit(
      hash, occurrences, threshold);
  if (!admitted.ok()) std::abort();
  return *admitted;
}

int64_t TestFilters::memory_bytes() const {
  int64_t bytes = 0;
  for (const OccurrenceFilter& filter : filters_) {
    bytes += filter.memory_bytes();
  }
  return bytes;
}

FilterRates MeasureFilterRates(int64_t capacity) {
  TestFilters filters(capacity);
  int64_t early = 0;
  int64_t late = 0;
  // Ids 0, 1, ...: the first 2 * capacity only fill the filters. Each of the
  // next `capacity` must be new to them. Then each of these occurs a second
  // time, when it is capacity - 1 others that have occurred since.
  for (int64_t id = 0; id < 2 * capacity; ++id) filters.Admit(id, 1, 2);
  for (int64_t id = 2 * capacity; id < 3 * capacity; ++id) {
    early += filters.Admit(id, 1, 2);
  }
  for (int64_t id = 2 * capacity; id < 3 * capacity; ++id) {
    late += !filters.Admit(id, 1, 2);
    // A newcomer for each, or the window would not move.
    filters.Admit(-1 - id, 1, 2);
  }
  const auto n = static_cast<double>(capacity);
  return {static_cast<double>(early) / n, static_cast<double>(late) / n,
          static_cast<double>(filters.memory_bytes()) / n};
}

}  // namespace monolith
