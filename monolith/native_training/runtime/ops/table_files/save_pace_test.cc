#include "monolith/native_training/runtime/ops/table_files/save_pace.h"

#include <atomic>
#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

absl::Duration RestAfter(absl::Duration work, int threads, int processors) {
  const std::atomic<uint64_t> requests(0);
  return SavePace(threads, processors, requests).RestAfter(work);
}

TEST(SavePaceTest, ThreadsTakeATwelfthOfTheProcessorsTogether) {
  const absl::Duration work = absl::Milliseconds(1);
  EXPECT_EQ(RestAfter(work, 2, 2), 11 * work);
  EXPECT_EQ(RestAfter(work, 1, 2), 5 * work);
  EXPECT_EQ(RestAfter(work, 2, 12), work);
  EXPECT_EQ(RestAfter(work, 2, 24), absl::ZeroDuration());
  EXPECT_EQ(RestAfter(work, 2, 64), absl::ZeroDuration());
}

void Work() {
  volatile double x = 1;
  for (int i = 0; i < 20'000'000; ++i) x = x * 1.0000001;
}

TEST(SavePaceTest, WhoHasWaitedForStorageOnlyDoesNotRest) {
  std::atomic<uint64_t> requests(0);
  SavePace pace(1, 1, requests);
  absl::SleepFor(absl::Milliseconds(300));
  ++requests;
  // 3.3 s if waiting were work.
  EXPECT_LT(pace.Rest(), absl::Seconds(1));
}

TEST(SavePaceTest, WhoHasWorkedRestsOnceBesideTraining) {
  std::atomic<uint64_t> requests(0);
  SavePace pace(1, 1, requests);
  Work();
  ++requests;
  const absl::Duration rest = pace.Rest();
  EXPECT_GT(rest, absl::Milliseconds(20));
  EXPECT_LT(pace.Rest(), rest / 2);
}

TEST(SavePaceTest, NobodyRestsWhereNobodyTrains) {
  std::atomic<uint64_t> requests(7);
  SavePace pace(1, 1, requests);
  Work();
  EXPECT_EQ(pace.Rest(), absl::ZeroDuration());
  ++requests;
  pace.Rest();
  absl::SleepFor(absl::Milliseconds(300));
  Work();
  EXPECT_EQ(pace.Rest(), absl::ZeroDuration())
      << "the last request was long ago";
}

}  // namespace
}  // namespace monolith
