#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

#include <algorithm>

#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

// Fewer ids than this are not worth another thread.
constexpr size_t kIdsPerChunk = 8192;

using Counts = std::array<uint32_t, kNumStripes>;

}  // namespace

StripePartition::StripePartition(absl::Span<const int64_t> ids,
                                 Executor& executor)
    : positions_(ids.size()) {
  const size_t num_chunks =
      std::clamp<size_t>(ids.size() / kIdsPerChunk, 1,
                         static_cast<size_t>(executor.num_threads()));
  const size_t chunk_size = (ids.size() + num_chunks - 1) / num_chunks;
  const auto chunk_end = [&](size_t chunk) {
    return std::min(ids.size(), (chunk + 1) * chunk_size);
  };
  const int64_t* const all_ids = ids.data();
  const auto stripe_of = [&](size_t i) {
    return StripeOfHash(HashId(all_ids[i]));
  };

  std::vector<Counts> counts(num_chunks, Counts{});
  const auto count = [&](int64_t chunk) {
    Counts& mine = counts[chunk];
    for (size_t i = chunk * chunk_size; i < chunk_end(chunk); ++i) {
      ++mine[stripe_of(i)];
    }
  };
  // Turns counts into where each chunk writes its first id of each stripe.
  const auto accumulate = [&] {
    uint32_t total = 0;
    for (int stripe = 0; stripe < kNumStripes; ++stripe) {
      begins_[stripe] = total;
      for (Counts& of_chunk : counts) {
        const uint32_t n = of_chunk[stripe];
        of_chunk[stripe] = total;
        total += n;
      }
    }
    begins_[kNumStripes] = total;
  };
  const auto scatter = [&](int64_t chunk) {
    Counts& next = counts[chunk];
    for (size_t i = chunk * chunk_size; i < chunk_end(chunk); ++i) {
      positions_[next[stripe_of(i)]++] = static_cast<uint32_t>(i);
    }
  };

  const auto for_each_chunk = [&](auto&& body) {
    if (num_chunks == 1) {
      body(0);
    } else {
      executor.ParallelFor(static_cast<int64_t>(num_chunks), body);
    }
  };
  for_each_chunk(count);
  accumulate();
  for_each_chunk(scatter);
}

}  // namespace monolith
