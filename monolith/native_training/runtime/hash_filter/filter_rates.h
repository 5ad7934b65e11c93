#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_streams.h"

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
  int64_t ids = 0;          // that went on trial
  int64_t early = 0;        // of them, admitted before their time
  int64_t remembered = 0;   // that occurred `threshold` times, and between two
                            // of them always less than `capacity` others
  int64_t late = 0;         // of those, not admitted then
  double bytes_per_id = 0;  // memory over capacity

  double early_rate() const;
  double late_rate() const;
};

// Sends a stream through the filters of a table and compares what they admit
// with exact counts. An id that is admitted, by either, occurs no more.
FilterRates MeasureFilterRates(int64_t capacity, uint32_t threshold,
                               const std::vector<Occurrence>& stream);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_FILTER_FILTER_RATES_H_
