#include "monolith/native_training/runtime/hash_table/stripe_batch.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace monolith {
namespace {

// Below this a batch is done sooner than other threads would wake up.
constexpr size_t kParallelIds = 2048;

// A hold costs about as much as a few rows, and may wait for readers.
constexpr size_t kIdsPerHold = 512;
constexpr size_t kMaxGroup = 8;  // stripes

}  // namespace

StripeHold::StripeHold(const Stripe* stripes, StripeGate& gate, int first,
                       int last)
    : stripes_(stripes), gate_(gate), first_(first), last_(last) {
  // In ascending order, as Stripe demands.
  for (int i = first_; i < last_; ++i) stripes_[i].mutex().lock();
  gate_.Close(StripeGate::Range(first_, last_));
}

StripeHold::~StripeHold() {
  gate_.Open(StripeGate::Range(first_, last_));
  for (int i = first_; i < last_; ++i) stripes_[i].mutex().unlock();
}

absl::Status ForEachStripeGroup(
    size_t num_ids, Executor& executor,
    absl::FunctionRef<absl::Status(int first, int last)> body) {
  const int width = static_cast<int>(std::clamp<size_t>(
      kNumStripes * kIdsPerHold / std::max<size_t>(num_ids, 1), 1, kMaxGroup));
  const int num_groups = (kNumStripes + width - 1) / width;
  std::mutex mutex;
  int failed_group = num_groups;
  absl::Status status;
  const auto run = [&](int64_t index) {
    const int group = static_cast<int>(index);
    absl::Status done =
        body(group * width, std::min((group + 1) * width, kNumStripes));
    if (done.ok()) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (group > failed_group) return;
    failed_group = group;
    status = std::move(done);
  };
  if (num_ids < kParallelIds) {
    for (int group = 0; group < num_groups; ++group) run(group);
  } else {
    executor.ParallelFor(num_groups, run);
  }
  return status;
}

}  // namespace monolith
