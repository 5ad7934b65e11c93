#include "monolith/native_training/runtime/ops/table_files/save_pace.h"

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

// One second of work is followed by `kRest` where a thread has the one
// processor there is.
constexpr absl::Duration kWork = absl::Seconds(1);
constexpr absl::Duration kRest = absl::Seconds(15);

// Time passes when the test says so.
class FakeClock : public SavePace::Clock {
 public:
  absl::Time Now() override { return now_; }
  absl::Duration ThreadTime() override { return thread_time_; }
  void SleepFor(absl::Duration duration) override {
    now_ += duration;
    slept_ += duration;
  }

  void Work() {
    now_ += kWork;
    thread_time_ += kWork;
  }
  void Wait(absl::Duration duration) { now_ += duration; }
  absl::Duration slept() const { return slept_; }

 private:
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  absl::Duration thread_time_ = absl::Minutes(7);
  absl::Duration slept_;
};

class SavePaceTest : public testing::Test {
 protected:
  // Of one of some threads on some processors.
  absl::Duration RestAfterWork(int threads, double processors) {
    FakeClock clock;
    SavePace pace(
        threads, processors, requests_, [] { return false; }, clock);
    clock.Work();
    ++requests_;
    const absl::Duration rest = pace.Rest();
    EXPECT_EQ(clock.slept(), rest);
    return rest;
  }

  FakeClock clock_;
  std::atomic<uint64_t> requests_{7};
  bool is_urgent_ = false;
  SavePace pace_{1, 1, requests_, [this] { return is_urgent_; }, clock_};
};

TEST_F(SavePaceTest, ThreadsTakeASixteenthOfTheProcessorsTogether) {
  EXPECT_EQ(RestAfterWork(2, 2), 15 * kWork);
  EXPECT_EQ(RestAfterWork(1, 2), 7 * kWork);
  EXPECT_EQ(RestAfterWork(1, 0.5), 31 * kWork);
  EXPECT_EQ(RestAfterWork(2, 16), kWork);
  EXPECT_EQ(RestAfterWork(2, 32), absl::ZeroDuration());
  EXPECT_EQ(RestAfterWork(2, 64), absl::ZeroDuration());
}

TEST_F(SavePaceTest, WhoHasWaitedForStorageOnlyDoesNotRest) {
  clock_.Wait(absl::Seconds(30));
  ++requests_;
  EXPECT_EQ(pace_.Rest(), absl::ZeroDuration());
}

TEST_F(SavePaceTest, WhoHasWorkedRestsOnceBesideTraining) {
  clock_.Work();
  ++requests_;
  EXPECT_EQ(pace_.Rest(), kRest);
  ++requests_;
  EXPECT_EQ(pace_.Rest(), absl::ZeroDuration());
  clock_.Work();
  ++requests_;
  EXPECT_EQ(pace_.Rest(), kRest);
}

TEST_F(SavePaceTest, NobodyRestsWhereNobodyTrains) {
  clock_.Work();
  EXPECT_EQ(pace_.Rest(), absl::ZeroDuration());
  clock_.Work();
  ++requests_;
  EXPECT_EQ(pace_.Rest(), kRest);
  clock_.Work();
  EXPECT_EQ(pace_.Rest(), absl::ZeroDuration())
      << "the last request was long ago";
}

TEST_F(SavePaceTest, NobodyRestsFromWhenItIsUrgent) {
  clock_.Work();
  ++requests_;
  EXPECT_EQ(pace_.Rest(), kRest);
  is_urgent_ = true;
  clock_.Work();
  ++requests_;
  EXPECT_EQ(pace_.Rest(), absl::ZeroDuration());
}

}  // namespace
}  // namespace monolith
