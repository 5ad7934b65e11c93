#include "monolith/native_training/runtime/hash_filter/generations.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

// Trials that carry labels as a filter has them do.
class Trials {
 public:
  Trials(size_t n, uint32_t full) : labels_(n), generations_(full) {}

  void Occur(size_t trial) {
    uint8_t& label = labels_[trial];
    if (label == generations_.newest()) return;
    if (label != Generations::kNone) generations_.Remove(label);
    label = generations_.newest();
    generations_.Add(label);
    const auto merger = generations_.BeginNextIfFull();
    if (!merger.has_value()) return;
    for (uint8_t& each : labels_) {
      if (each == merger->from) each = merger->into;
    }
  }

  void End(size_t trial) {
    if (labels_[trial] == Generations::kNone) return;
    generations_.Remove(labels_[trial]);
    labels_[trial] = Generations::kNone;
  }

  bool Lives(size_t trial) const {
    return labels_[trial] != Generations::kNone;
  }
  int Age(size_t trial) const { return generations_.Age(labels_[trial]); }

  // Of the largest generation.
  size_t MostOfAnAge() const {
    std::vector<size_t> sizes(Generations::kMax);
    size_t most = 0;
    for (size_t i = 0; i < labels_.size(); ++i) {
      if (Lives(i)) most = std::max(most, ++sizes[static_cast<size_t>(Age(i))]);
    }
    return most;
  }

 private:
  std::vector<uint8_t> labels_;
  Generations generations_;
};

TEST(GenerationsTest, TheNewestHasAgeZero) {
  Trials trials(100, 10);
  for (size_t i = 0; i < 100; ++i) trials.Occur(i);
  EXPECT_EQ(trials.Age(99), 1) << "full, so that a newer one has begun";
  EXPECT_EQ(trials.Age(95), 1);
  EXPECT_EQ(trials.Age(89), 2);
  EXPECT_EQ(trials.Age(0), 10);
  trials.Occur(0);
  EXPECT_EQ(trials.Age(0), 0);
}

// Whoever occurs, and however often: who has occurred later is never the older
// one, and no generation is large.
TEST(GenerationsTest, AgesFollowTheOrderAndGenerationsStaySmall) {
  constexpr size_t kTrials = 3000;
  for (const size_t regulars : {1, 100, 300, 1000, 2999}) {
    std::mt19937_64 random(regulars);
    Trials trials(kTrials, kTrials / Generations::kMax + 1);
    std::vector<int64_t> last(kTrials, -1);
    for (int64_t now = 0; now < 200000; ++now) {
      const size_t trial =
          random() % 10 == 0 ? random() % kTrials : now % regulars;
      if (random() % 50 == 0) trials.End(random() % kTrials);
      trials.Occur(trial);
      last[trial] = now;
      if (now % 5000 != 0) continue;
      std::vector<int64_t> newest(Generations::kMax, -1);
      std::vector<int64_t> oldest(Generations::kMax, now + 1);
      for (size_t i = 0; i < kTrials; ++i) {
        if (!trials.Lives(i)) continue;
        const auto age = static_cast<size_t>(trials.Age(i));
        newest[age] = std::max(newest[age], last[i]);
        oldest[age] = std::min(oldest[age], last[i]);
      }
      int64_t older = -1;
      for (size_t age = Generations::kMax; age-- > 0;) {
        if (newest[age] < 0) continue;
        EXPECT_LT(older, oldest[age]) << "age " << age << " at " << now;
        older = newest[age];
      }
      EXPECT_LE(trials.MostOfAnAge(), kTrials / 7 + 1) << now;
    }
  }
}

TEST(GenerationsTest, LabelsOfAges) {
  Generations generations(2);
  generations.Add(generations.newest());
  const uint8_t fifth = generations.LabelOfAge(5);
  EXPECT_EQ(generations.Age(fifth), 5);
  EXPECT_EQ(generations.LabelOfAge(5), fifth);
  EXPECT_EQ(generations.LabelOfAge(0), generations.newest());
  EXPECT_EQ(generations.Age(generations.LabelOfAge(Generations::kMax - 1)),
            Generations::kMax - 1);
  EXPECT_EQ(generations.Age(fifth), 5);
  EXPECT_FALSE(generations.BeginNextIfFull().has_value());
}

TEST(GenerationsTest, BeginEmptyMakesAllOlder) {
  Generations generations(1);
  std::vector<uint8_t> labels;  // from the oldest on
  for (int i = 0; i < 6; ++i) {
    labels.push_back(generations.newest());
    generations.Add(generations.newest());
    EXPECT_FALSE(generations.BeginNextIfFull().has_value());
  }
  const uint64_t begun = generations.num_begun();
  const auto label_of = generations.BeginEmpty(12);
  EXPECT_EQ(generations.num_begun(), begun + 12);
  // Three can stay apart, beside the empty newest one that nobody needs.
  const int ages[] = {14, 14, 13, 13, 12, 12};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(generations.Age(label_of[labels[i]]), ages[i]) << i;
  }
  EXPECT_EQ(generations.Age(generations.newest()), 0);
  EXPECT_EQ(label_of[Generations::kNone], Generations::kNone);
  // All ages are there to be joined.
  for (int age = 0; age < Generations::kMax; ++age) {
    EXPECT_EQ(generations.Age(generations.LabelOfAge(age)), age);
  }
}

}  // namespace
}  // namespace monolith
