#include "monolith/native_training/runtime/hash_filter/filter_rates.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <unordered_map>

#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {
namespace {

// Of moments 0 .. n - 1, those that are marked: a binary indexed tree.
class MarkedMoments {
 public:
  explicit MarkedMoments(size_t n) : sums_(n + 1) {}

  void Mark(size_t moment) { Change(moment, 1); }
  void Unmark(size_t moment) { Change(moment, -1); }

  int64_t CountBefore(size_t moment) const {
    int64_t count = 0;
    for (size_t i = moment; i > 0; i &= i - 1) count += sums_[i];
    return count;
  }

 private:
  void Change(size_t moment, int32_t by) {
    for (size_t i = moment + 1; i < sums_.size(); i += i & -i) sums_[i] += by;
  }

  std::vector<int32_t> sums_;
};

struct ExactTrial {
  uint32_t count = 0;
  size_t last = 0;
  int64_t most_others = 0;  // between two occurrences
  bool over = false;
};

double Share(int64_t part, int64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

}  // namespace

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

double FilterRates::early_rate() const { return Share(early, ids); }
double FilterRates::late_rate() const { return Share(late, remembered); }

FilterRates MeasureFilterRates(int64_t capacity, uint32_t threshold,
                               const std::vector<Occurrence>& stream) {
  TestFilters filters(capacity);
  MarkedMoments last_occurrences(stream.size());
  std::unordered_map<int64_t, ExactTrial> trials;
  FilterRates rates;
  for (size_t now = 0; now < stream.size(); ++now) {
    const auto [id, times] = stream[now];
    ExactTrial& trial = trials[id];
    if (trial.over) continue;
    if (trial.count > 0) {
      const int64_t others = last_occurrences.CountBefore(now) -
                             last_occurrences.CountBefore(trial.last + 1);
      trial.most_others = std::max(trial.most_others, others);
      last_occurrences.Unmark(trial.last);
    }
    last_occurrences.Mark(now);
    trial.last = now;
    trial.count += times;
    const bool admitted = filters.Admit(id, times, threshold);
    const bool expected = trial.count >= threshold;
    trial.over = admitted || expected;
    if (!trial.over) continue;
    rates.early += admitted && !expected;
    if (!expected || trial.most_others >= capacity) continue;
    ++rates.remembered;
    rates.late += !admitted;
  }
  rates.ids = static_cast<int64_t>(trials.size());
  rates.bytes_per_id = static_cast<double>(filters.memory_bytes()) /
                       static_cast<double>(capacity);
  return rates;
}

}  // namespace monolith
