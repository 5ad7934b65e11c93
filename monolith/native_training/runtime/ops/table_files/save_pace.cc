#include "monolith/native_training/runtime/ops/table_files/save_pace.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/time/clock.h"

namespace monolith {
namespace {

// A save takes one of so many processors.
constexpr double kProcessorsOfOne = 16;

// Workers that train ask at least so often.
constexpr absl::Duration kStep = absl::Milliseconds(200);

class SystemClock : public SavePace::Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  absl::Duration ThreadTime() override {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return absl::DurationFromTimespec(time);
  }
  void SleepFor(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace

SavePace::Clock& SavePace::Clock::System() {
  static auto* const clock = new SystemClock;
  return *clock;
}

SavePace::SavePace(int num_threads, double num_processors,
                   const std::atomic<uint64_t>& num_requests,
                   std::function<bool()> is_urgent, Clock& clock)
    : clock_(clock),
      rest_of_work_(
          std::max(kProcessorsOfOne * num_threads / num_processors - 1, 0.0)),
      num_requests_(num_requests),
      is_urgent_(std::move(is_urgent)),
      requests_seen_(num_requests.load(std::memory_order_relaxed)),
      rested_at_(clock.ThreadTime()) {}

absl::Duration SavePace::Rest() {
  absl::Duration rest;
  if (IsBesideTraining() && !is_urgent_()) {
    rest = rest_of_work_ * (clock_.ThreadTime() - rested_at_);
  }
  if (rest > absl::ZeroDuration()) clock_.SleepFor(rest);
  rested_at_ = clock_.ThreadTime();
  return rest;
}

bool SavePace::IsBesideTraining() {
  const absl::Time now = clock_.Now();
  const uint64_t requests = num_requests_.load(std::memory_order_relaxed);
  if (requests != requests_seen_) {
    requests_seen_ = requests;
    last_request_ = now;
  }
  return now - last_request_ < kStep;
}

}  // namespace monolith
