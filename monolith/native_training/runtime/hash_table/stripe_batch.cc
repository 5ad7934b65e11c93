#include "monolith/native_training/runtime/hash_table/stripe_batch.h"

#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {
namespace {

// Below this a batch is done sooner than other threads would wake up.
constexpr size_t kParallelIds = 2048;

}  // namespace

absl::Status ForEachStripe(size_t num_ids, Executor& executor,
                           absl::FunctionRef<absl::Status(int)> body) {
  std::mutex mutex;
  int failed_stripe = kNumStripes;
  absl::Status status;
  const auto run = [&](int64_t index) {
    const int stripe = static_cast<int>(index);
    absl::Status done = body(stripe);
    if (done.ok()) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (stripe > failed_stripe) return;
    failed_stripe = stripe;
    status = std::move(done);
  };
  if (num_ids < kParallelIds) {
    for (int stripe = 0; stripe < kNumStripes; ++stripe) run(stripe);
  } else {
    executor.ParallelFor(kNumStripes, run);
  }
  return status;
}

}  // namespace monolith
