#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_filter/filter_rates.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_streams.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/sanitizers/sanitizers.h"

namespace monolith {
namespace {

TEST(OccurrenceFilterTest, AdmitsWithTheThresholdThOccurrence) {
  for (const uint32_t threshold : {1u, 2u, 7u, 65535u}) {
    TestFilters filters(1000);
    for (uint32_t i = 1; i < threshold; ++i) {
      ASSERT_FALSE(filters.Admit(5, 1, threshold)) << i;
    }
    EXPECT_TRUE(filters.Admit(5, 1, threshold)) << threshold;
    // The trial is over; the next begins at 0.
    EXPECT_EQ(filters.Admit(5, 1, threshold), threshold == 1);
  }
}

TEST(OccurrenceFilterTest, CountsSeveralOccurrencesAtATime) {
  TestFilters filters(1000);
  EXPECT_FALSE(filters.Admit(5, 3, 10));
  EXPECT_FALSE(filters.Admit(6, 9, 10));
  EXPECT_FALSE(filters.Admit(5, 6, 10));
  EXPECT_FALSE(filters.Admit(5, 0, 10));
  EXPECT_TRUE(filters.Admit(5, 1, 10));
  EXPECT_TRUE(filters.Admit(6, 65535, 10));
  EXPECT_FALSE(filters.Admit(6, 9, 10)) << "its trial was not over";
  EXPECT_FALSE(filters.Admit(7, 65534, 65535));
  EXPECT_TRUE(filters.Admit(7, 4000000000, 65535));
}

TEST(OccurrenceFilterTest, NeedsNoMemoryWithoutTrials) {
  TestFilters filters(1 << 20);
  for (int64_t id = 0; id < 1000; ++id) {
    EXPECT_TRUE(filters.Admit(id, 1, 1));
    EXPECT_TRUE(filters.Admit(id, 5, 5));
  }
  EXPECT_EQ(filters.memory_bytes(), 0);
}

// Within the capacity it is as good as counting exactly.
TEST(OccurrenceFilterTest, AgreesWithExactCountsWithinItsCapacity) {
  constexpr uint32_t kThreshold = 20;
  std::mt19937_64 random(7);
  for (const int64_t capacity : {1, 10, 100, 1000, 10000}) {
    TestFilters filters(capacity);
    std::unordered_map<int64_t, uint32_t> counts;
    int64_t wrong = 0;
    for (int64_t i = 0; i < 30 * capacity; ++i) {
      const auto id =
          static_cast<int64_t>(random() % static_cast<uint64_t>(capacity));
      const auto occurrences = static_cast<uint32_t>(random() % 3);
      uint32_t& count = counts[id];
      count += occurrences;
      const bool expected = count >= kThreshold;
      if (expected) count = 0;
      wrong += filters.Admit(id, occurrences, kThreshold) != expected;
    }
    EXPECT_EQ(wrong, 0) << "capacity " << capacity;
  }
}

// What a filter takes at most, in bytes: small ones have a part that does not
// grow with their capacity.
constexpr int64_t PromisedBytes(int64_t capacity) {
  constexpr int64_t kSmall = 100000;
  return 8 * capacity + (capacity < kSmall ? 20 << 10 : 0);
}

constexpr uint32_t kThresholds[] = {2, 5, 1000};

class FilterRatesTest : public testing::TestWithParam<int64_t> {
 protected:
  int64_t capacity() const { return GetParam(); }

  void ExpectAsPromised(const FilterRates& rates, double late) const {
    EXPECT_GT(rates.remembered, capacity() / 32) << "too few to tell";
    EXPECT_LT(rates.early_rate(), 5e-5) << rates.early << " of " << rates.ids;
    EXPECT_LT(rates.late_rate(), late)
        << rates.late << " of " << rates.remembered;
    EXPECT_LE(rates.bytes_per_id * static_cast<double>(capacity()),
              static_cast<double>(PromisedBytes(capacity())));
  }
};

TEST_P(FilterRatesTest, RepeatingBlocks) {
  for (const uint32_t threshold : kThresholds) {
    for (const int repeats : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message()
                   << "threshold " << threshold << ", repeats " << repeats);
      const auto rates = [&](int64_t block) {
        return MeasureFilterRates(
            capacity(), threshold,
            RepeatingBlocks(block, repeats, threshold, 8 * capacity()));
      };
      ExpectAsPromised(rates(capacity()), 2e-4);
      ExpectAsPromised(rates(capacity() * 3 / 4), 2e-5);
    }
  }
}

// The strangers of a while are on trial beside ids that occur many times in
// that while.
TEST_P(FilterRatesTest, RegularsAndStrangers) {
  constexpr uint32_t kThreshold = 1000;
  const auto rates = [&](double share) {
    const auto half =
        static_cast<int64_t>(share * static_cast<double>(capacity() / 2));
    return MeasureFilterRates(
        capacity(), kThreshold,
        RegularsAndStrangers(half, half, kThreshold / 2, 24 * capacity()));
  };
  ExpectAsPromised(rates(1), 2e-4);
  ExpectAsPromised(rates(0.75), 2e-5);
}

TEST_P(FilterRatesTest, ZipfAndStrangers) {
  for (const uint32_t threshold : kThresholds) {
    SCOPED_TRACE(threshold);
    ExpectAsPromised(MeasureFilterRates(capacity(), threshold,
                                        ZipfAndStrangers(2 * capacity(), 1.05,
                                                         (threshold + 4) / 5,
                                                         20 * capacity())),
                     2e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Capacities, FilterRatesTest,
                         testing::Values(kSanitized ? 1 << 14 : 1 << 17));

TEST(OccurrenceFilterTest, SmallFiltersKeepTheirCapacityToo) {
  for (const int64_t capacity : {64, 1000, 5000, 30000}) {
    const FilterRates rates = MeasureFilterRates(
        capacity, 2, RepeatingBlocks(capacity, 2, 2, 20 * capacity));
    EXPECT_LT(rates.late_rate(), 1.0 / 300) << capacity;
  }
}

TEST(OccurrenceFilterTest, TakesNoMoreMemoryThanPromised) {
  const auto bytes = [](int64_t capacity) {
    TestFilters filters(capacity);
    for (int64_t id = 0; id < 1000; ++id) filters.Admit(id, 1, 2);
    return filters.memory_bytes();
  };
  for (int64_t capacity = 1; capacity <= (kSanitized ? 1 << 20 : 1 << 26);
       capacity += 1 + capacity / 25) {
    EXPECT_LE(bytes(capacity), PromisedBytes(capacity)) << capacity;
  }
}

TEST(OccurrenceFilterTest, OldTrialsFadeAndMemoryStays) {
  constexpr int64_t kCapacity = 10000;
  TestFilters filters(kCapacity);
  constexpr int64_t kOld = -1;
  EXPECT_FALSE(filters.Admit(kOld, 9, 10));
  filters.Admit(0, 1, 10);
  int64_t bytes = 0;
  for (int64_t id = 1; id < 10 * kCapacity; ++id) {
    filters.Admit(id, 1, 10);
    if (id == kCapacity) bytes = filters.memory_bytes();
  }
  EXPECT_EQ(filters.memory_bytes(), bytes);
  EXPECT_FALSE(filters.Admit(kOld, 1, 10)) << "should have been forgotten";
}

TEST(OccurrenceFilterTest, AnIdThatOccursNowAndThenIsNotForgotten) {
  constexpr int64_t kCapacity = 10000;
  TestFilters filters(kCapacity);
  for (uint32_t round = 1; round < 100; ++round) {
    ASSERT_FALSE(filters.Admit(-1, 1, 100));
    for (int64_t i = 0; i < kCapacity / 2; ++i) {
      filters.Admit(round * kCapacity + i, 1, 100);
    }
  }
  EXPECT_TRUE(filters.Admit(-1, 1, 100));
}

TEST(OccurrenceFilterTest, ClearForgets) {
  OccurrenceFilter filter(1000, 1);
  EXPECT_FALSE(*filter.Admit(HashId(1), 2, 3));
  EXPECT_GT(filter.memory_bytes(), 0);
  filter.Clear();
  EXPECT_EQ(filter.memory_bytes(), 0);
  EXPECT_FALSE(*filter.Admit(HashId(1), 2, 3));
}

std::vector<Trial> TrialsOf(const OccurrenceFilter& filter) {
  std::vector<Trial> trials;
  filter.ExportTrials(&trials);
  return trials;
}

void Occur(OccurrenceFilter& filter, int64_t id, uint32_t occurrences) {
  ASSERT_FALSE(*filter.Admit(HashId(id), occurrences, 65535));
}

TEST(OccurrenceFilterTest, ExportedTrialsGoOnElsewhere) {
  constexpr int kIds = 500;
  OccurrenceFilter source(1000, 1);
  for (int64_t id = 0; id < kIds; ++id) {
    ASSERT_FALSE(*source.Admit(HashId(id), static_cast<uint32_t>(id % 9), 10));
  }
  const auto trials = TrialsOf(source);
  EXPECT_EQ(trials.size(), kIds - (kIds + 8) / 9);
  OccurrenceFilter target(1000, 1);
  ASSERT_TRUE(target.ImportTrials(trials).ok());
  EXPECT_EQ(TrialsOf(target), trials);
  for (int64_t id = 0; id < kIds; ++id) {
    const auto left = static_cast<uint32_t>(10 - id % 9);
    EXPECT_FALSE(*target.Admit(HashId(id), left - 1, 10)) << id;
    EXPECT_TRUE(*target.Admit(HashId(id), 1, 10)) << id;
  }
}

TEST(OccurrenceFilterTest, ImportedTrialsFadeInTheirOrder) {
  constexpr int64_t kIds = 10000;
  OccurrenceFilter source(kIds, 1);
  for (int64_t id = 0; id < kIds; ++id) Occur(source, id, 100);
  OccurrenceFilter target(kIds, 1);
  ASSERT_TRUE(target.ImportTrials(TrialsOf(source)).ok());
  // There is room for 1.5 times the capacity, so the oldest third goes.
  for (int64_t i = 0; i < kIds * 4 / 5; ++i) Occur(target, kIds + i, 1);
  constexpr int64_t kSome = kIds / 5;
  int64_t young = 0, old = 0;
  for (int64_t i = 0; i < kSome; ++i) {
    young += *target.Admit(HashId(kIds - 1 - i), 1, 101);
  }
  for (int64_t id = 0; id < kSome; ++id) {
    old += *target.Admit(HashId(id), 1, 101);
  }
  EXPECT_GT(young, kSome * 99 / 100);
  EXPECT_LT(old, kSome / 10);
}

TEST(OccurrenceFilterTest, OfTrialsThatMeetTheHigherCountStays) {
  OccurrenceFilter few(1000, 1), many(1000, 1);
  for (int64_t id = 0; id < 100; ++id) {
    Occur(few, id, 3);
    Occur(many, id, 7);
  }
  for (const bool few_first : {true, false}) {
    OccurrenceFilter target(1000, 1);
    for (const bool is_few : {few_first, !few_first}) {
      ASSERT_TRUE(target.ImportTrials(TrialsOf(is_few ? few : many)).ok());
    }
    EXPECT_EQ(TrialsOf(target).size(), 100u);
    for (int64_t id = 0; id < 100; ++id) {
      EXPECT_TRUE(*target.Admit(HashId(id), 1, 8)) << id;
    }
  }
}

// As when a table goes from three servers to one.
TEST(OccurrenceFilterTest, OfTooManyImportedTrialsTheLatestStay) {
  constexpr int64_t kIds = 10000;
  OccurrenceFilter target(kIds, 1);
  int64_t bytes = 0;
  for (int64_t server = 0; server < 3; ++server) {
    OccurrenceFilter source(kIds, 1);
    for (int64_t i = 0; i < kIds; ++i) Occur(source, i * 3 + server, 1);
    ASSERT_TRUE(target.ImportTrials(TrialsOf(source)).ok());
    if (server == 0) bytes = target.memory_bytes();
  }
  EXPECT_EQ(target.memory_bytes(), bytes);
  int64_t latest = 0;
  for (int64_t id = 27 * kIds / 10; id < 3 * kIds; ++id) {
    latest += *target.Admit(HashId(id), 1, 2);
  }
  EXPECT_GT(latest, 3 * kIds / 10 * 95 / 100);
  // It goes on as ever.
  for (int64_t id = 3 * kIds; id < 4 * kIds; ++id) Occur(target, id, 1);
  for (int64_t id = 3 * kIds; id < 4 * kIds; ++id) {
    EXPECT_TRUE(*target.Admit(HashId(id), 1, 2)) << id;
  }
}

TEST(OccurrenceFilterTest, RefusesTrialsThatDoNotFit) {
  OccurrenceFilter filter(1000, 1);
  EXPECT_FALSE(filter.ImportTrials({{filter.num_buckets(), 0, 1, 0}}).ok());
  EXPECT_FALSE(filter.ImportTrials({{0, 1u << 20, 1, 0}}).ok());
  EXPECT_FALSE(filter.ImportTrials({{0, 0, 1, 15}}).ok());
  EXPECT_EQ(filter.memory_bytes(), 0);
}

std::vector<Trial> TakeAll(OccurrenceFilter& filter, bool only_changed,
                           uint32_t* aged) {
  std::vector<Trial> trials;
  auto walk = filter.BeginTaking(aged);
  while (!walk.is_over()) filter.TakeNext(&walk, 7, only_changed, &trials);
  return trials;
}

TEST(OccurrenceFilterTest, OnlyWhatHasOccurredSinceIsTaken) {
  OccurrenceFilter filter(1000, 1);
  uint32_t aged = 0;
  EXPECT_TRUE(TakeAll(filter, false, &aged).empty());
  for (int64_t id = 0; id < 500; ++id) Occur(filter, id, 2);
  EXPECT_EQ(TakeAll(filter, false, &aged), TrialsOf(filter));
  EXPECT_TRUE(TakeAll(filter, true, &aged).empty());
  EXPECT_EQ(aged, 0u);

  for (int64_t id = 490; id < 510; ++id) Occur(filter, id, 1);  // 10 are new
  EXPECT_TRUE(*filter.Admit(HashId(509), 1, 2));
  const auto changed = TakeAll(filter, true, &aged);
  EXPECT_EQ(changed.size(), 19u);
  int64_t count = 0;
  for (const Trial& trial : changed) count += trial.occurrences;
  EXPECT_EQ(count, 10 * 3 + 9 * 1);
  EXPECT_TRUE(TakeAll(filter, true, &aged).empty());
  // All are still there to be exported.
  EXPECT_EQ(TrialsOf(filter).size(), 509u);
}

TEST(OccurrenceFilterTest, WhatWasTakenInPartsAddsUp) {
  constexpr int64_t kIds = 10000;
  OccurrenceFilter source(kIds, 1), target(kIds, 1);
  std::mt19937 random(7);
  for (int save = 0; save < 8; ++save) {
    // Some of all, and some that are new: in the end twice as many as there is
    // room for.
    for (int i = 0; i < 4000; ++i) {
      const int64_t newest = 3500 * (save + 1);
      Occur(source, i % 4 == 0 ? newest - random() % kIds : newest - i, 1);
    }
    uint32_t aged = 0;
    const auto trials = TakeAll(source, save > 0, &aged);
    if (save > 0) {
      EXPECT_LT(trials.size(), 4001u);
      EXPECT_GT(aged, 0u);
      target.Age(aged);
    }
    ASSERT_TRUE(target.ImportTrials(trials).ok());
  }
  // Of the oldest the target may have forgotten others than the source, which
  // saw them come in another order.
  std::map<std::pair<uint32_t, uint32_t>, Trial> got;
  for (const Trial& trial : TrialsOf(target)) {
    got[{trial.bucket, trial.fingerprint}] = trial;
  }
  const auto wanted = TrialsOf(source);
  size_t as_they_were = 0, recent = 0, recent_there = 0;
  for (const Trial& trial : wanted) {
    const auto found = got.find({trial.bucket, trial.fingerprint});
    const bool is_there =
        found != got.end() && found->second.occurrences == trial.occurrences;
    as_they_were += is_there;
    recent += trial.age < 8;
    recent_there += is_there && trial.age < 8;
  }
  EXPECT_GT(as_they_were, wanted.size() * 85 / 100);
  EXPECT_GT(recent_there, recent * 999 / 1000);
}

// The share of a filter's trials that is lost, or has a lower count, in one
// with what was taken of it in four parts. Ids that occur are random ones of
// `num_ids`.
double LostOfPartsTaken(int64_t capacity, size_t num_ids, uint64_t seed) {
  OccurrenceFilter source(capacity, 1), target(capacity, 1);
  std::mt19937_64 random(seed);
  std::vector<int64_t> ids(num_ids);
  for (int64_t& id : ids) id = static_cast<int64_t>(random());
  std::unordered_set<int64_t> admitted;
  for (int save = 0; save < 4; ++save) {
    std::vector<int64_t> newly_admitted;
    for (int64_t i = 0; i < capacity * 3 / 2; ++i) {
      const int64_t id = ids[random() % num_ids];
      if (admitted.count(id) > 0) continue;
      if (!*source.Admit(HashId(id), 1, 3)) continue;
      admitted.insert(id);
      newly_admitted.push_back(id);
    }
    uint32_t aged = 0;
    const auto trials = TakeAll(source, save > 0, &aged);
    for (const int64_t id : newly_admitted) target.Forget(HashId(id));
    if (save > 0) target.Age(aged);
    EXPECT_TRUE(target.ImportTrials(trials).ok());
  }
  std::map<std::pair<uint32_t, uint32_t>, uint16_t> got;
  for (const Trial& trial : TrialsOf(target)) {
    got[{trial.bucket, trial.fingerprint}] = trial.occurrences;
  }
  const auto wanted = TrialsOf(source);
  const auto lost =
      std::count_if(wanted.begin(), wanted.end(), [&](const Trial& trial) {
        const auto found = got.find({trial.bucket, trial.fingerprint});
        return found == got.end() || found->second < trial.occurrences;
      });
  return static_cast<double>(lost) / static_cast<double>(wanted.size());
}

// The README of table files quotes these.
TEST(OccurrenceFilterTest, OfPartsTakenFewAreLostWhereThereIsNoRoom) {
  constexpr int64_t kCapacity = 20000;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    EXPECT_EQ(LostOfPartsTaken(kCapacity, kCapacity, seed), 0);
    EXPECT_LT(LostOfPartsTaken(kCapacity, 3 * kCapacity, seed), 0.01);
    EXPECT_LT(LostOfPartsTaken(kCapacity, 10 * kCapacity, seed), 0.1);
  }
}

TEST(OccurrenceFilterTest, ATrialThatIsForgottenBeginsAnew) {
  OccurrenceFilter filter(1000, 1);
  filter.Forget(HashId(1));
  Occur(filter, 1, 8);
  Occur(filter, 2, 8);
  filter.Forget(HashId(1));
  EXPECT_FALSE(*filter.Admit(HashId(1), 1, 9));
  EXPECT_TRUE(*filter.Admit(HashId(2), 1, 9));
}

TEST(OccurrenceFilterTest, TrialsMadeOlderAreTheFirstToGo) {
  for (const bool aged : {false, true}) {
    OccurrenceFilter filter(1, 1);
    ASSERT_EQ(filter.num_buckets(), 1u);  // of 12 slots
    std::vector<Trial> first, second;
    for (uint32_t i = 0; i < 6; ++i) {
      first.push_back({0, i, 100, 0});
      second.push_back({0, 10 + i, 1, 2});
    }
    ASSERT_TRUE(filter.ImportTrials(first).ok());
    if (aged) filter.Age(3);
    ASSERT_TRUE(filter.ImportTrials(second).ok());
    Occur(filter, 12345, 1);
    int64_t left_of_first = 0;
    for (const Trial& trial : TrialsOf(filter)) {
      left_of_first += trial.occurrences == 100;
    }
    EXPECT_EQ(left_of_first, aged ? 5 : 6);
  }
}

}  // namespace
}  // namespace monolith
