#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_

#include <cstdint>
#include <deque>

#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"

namespace monolith {

// How often a table's occurrence filters err, for tests and benchmarks.

// The filters of a table: one a stripe. Crashes when there is no memory.
class TestFilters {
 public:
  explicit TestFilters(int64_t capacity);

  bool Admit(int64_t id, uint32_t occurrences, uint32_t threshold);
  int64_t memory_bytes() const;

 private:
  std::deque<OccurrenceFilter> filters_;
};

struct FilterRates {
  double early;         // of ids that are new to a full filter
  double late;          // of ids that occur again after `capacity` others
  double bytes_per_id;  // memory over capacity
};

// Puts 3 * `capacity` ids of a stream on trial, so that the filters are as full
// as they ever get, and then lets the last `capacity` of them occur a second
// time, in turn with new ones; 2 occurrences admit.
FilterRates MeasureFilterRates(int64_t capacity);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_
