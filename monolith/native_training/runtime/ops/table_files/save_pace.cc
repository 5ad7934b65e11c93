#include "monolith/native_training/runtime/ops/table_files/save_pace.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/time/clock.h"

namespace monolith {
namespace {

// A save takes one of so many processors.
constexpr double kProcessorsOfOne = 12;

// Workers that train ask at least so often.
constexpr absl::Duration kStep = absl::Milliseconds(200);

absl::Duration ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace

SavePace::SavePace(int num_threads, int num_processors,
                   const std::atomic<uint64_t>& num_requests)
    : rest_of_work_(std::max(
          kProcessorsOfOne * num_threads / std::max(num_processors, 1) - 1,
          0.0)),
      num_requests_(num_requests),
      requests_seen_(num_requests.load(std::memory_order_relaxed)),
      rested_at_(ThreadTime()) {}

absl::Duration SavePace::RestAfter(absl::Duration work) const {
  return rest_of_work_ * work;
}

absl::Duration SavePace::Rest() {
  absl::Duration rest;
  if (IsBesideTraining()) rest = RestAfter(ThreadTime() - rested_at_);
  absl::SleepFor(rest);
  rested_at_ = ThreadTime();
  return rest;
}

bool SavePace::IsBesideTraining() {
  const absl::Time now = absl::Now();
  const uint64_t requests = num_requests_.load(std::memory_order_relaxed);
  if (requests != requests_seen_) {
    requests_seen_ = requests;
    last_request_ = now;
  }
  return now - last_request_ < kStep;
}

}  // namespace monolith
