#include "monolith/native_training/runtime/ops/table_set/table_turns.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

bool Never() { return false; }

TEST(TableTurnsTest, ChangesAreThoseSinceTheLastSave) {
  TableTurns turns;
  EXPECT_TRUE(absl::IsFailedPrecondition(turns.BeginSave("a", Never).status()));
  (*turns.BeginSave("", Never))->SetLastSave("a");
  (*turns.BeginSave("a", Never))->SetLastSave("b");
  EXPECT_TRUE(absl::IsFailedPrecondition(turns.BeginSave("a", Never).status()));
  // One that was not successful.
  EXPECT_TRUE(turns.BeginSave("b", Never).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(turns.BeginSave("b", Never).status()));

  (*turns.BeginSave("", Never))->SetLastSave("c");
  EXPECT_TRUE(turns.BeginCopy(Never).ok());
  // One that left the rows as they were.
  EXPECT_TRUE(turns.BeginReplacing(turns.TakeNumber(), Never).ok());
  (*turns.BeginSave("c", Never))->SetLastSave("d");
  (*turns.BeginReplacing(turns.TakeNumber(), Never))->ForgetLastSave();
  EXPECT_TRUE(absl::IsFailedPrecondition(turns.BeginSave("d", Never).status()));
}

TEST(TableTurnsTest, ANewerReplacementWaitsForTheOlderToGiveUp) {
  for (const bool is_save : {false, true}) {
    TableTurns turns;
    auto older = is_save ? turns.BeginSave("", Never)
                         : turns.BeginReplacing(turns.TakeNumber(), Never);
    ASSERT_TRUE(older.ok());
    EXPECT_TRUE((*older)->Check().ok());
    std::atomic<bool> has_begun{false};
    std::thread other([&] {
      auto newer = turns.BeginReplacing(turns.TakeNumber(), Never);
      ASSERT_TRUE(newer.ok());
      has_begun = true;
      EXPECT_TRUE((*newer)->Check().ok());
    });
    while ((*older)->Check().ok()) std::this_thread::yield();
    EXPECT_TRUE(absl::IsAborted((*older)->Check()));
    EXPECT_FALSE(has_begun);
    older->reset();
    other.join();
    EXPECT_TRUE(turns.BeginSave("", Never).ok());
  }
}

TEST(TableTurnsTest, OneThatComesLateDoesNotBegin) {
  TableTurns turns;
  const int64_t late = turns.TakeNumber();
  EXPECT_TRUE(turns.BeginReplacing(turns.TakeNumber(), Never).ok());
  EXPECT_TRUE(absl::IsAborted(turns.BeginReplacing(late, Never).status()));
  EXPECT_TRUE(turns.BeginReplacing(turns.TakeNumber(), Never).ok());
}

TEST(TableTurnsTest, ASaveWaitsAndOutdatesNobody) {
  TableTurns turns;
  auto restore = turns.BeginReplacing(turns.TakeNumber(), Never);
  std::atomic<bool> has_begun{false};
  std::atomic<bool> waits{false};
  std::thread other([&] {
    const auto save = turns.BeginSave("", [&] {
      waits = true;
      return false;
    });
    EXPECT_TRUE(save.ok());
    has_begun = true;
  });
  while (!waits) std::this_thread::yield();
  EXPECT_TRUE((*restore)->Check().ok());
  EXPECT_FALSE(has_begun);
  restore->reset();
  other.join();
}

TEST(TableTurnsTest, ThoseWhoAreCancelledEnd) {
  TableTurns turns;
  std::atomic<bool> is_cancelled{false};
  const auto ask = [&] { return is_cancelled.load(); };
  auto turn = turns.BeginReplacing(turns.TakeNumber(), ask);
  ASSERT_TRUE(turn.ok());
  std::thread waiting([&] {
    EXPECT_TRUE(absl::IsCancelled(turns.BeginSave("", ask).status()));
  });
  EXPECT_TRUE((*turn)->Check().ok());
  is_cancelled = true;
  waiting.join();
  EXPECT_TRUE(absl::IsCancelled((*turn)->Check()));
}

TEST(TableTurnsTest, OneAtATime) {
  TableTurns turns;
  int inside = 0;  // guarded by the turns
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        auto turn = t % 2 == 0
                        ? turns.BeginSave("", Never)
                        : turns.BeginReplacing(turns.TakeNumber(), Never);
        if (!turn.ok()) continue;
        EXPECT_EQ(++inside, 1);
        --inside;
        ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(done, 0);
}

}  // namespace
}  // namespace monolith
