// Writing what is given: Assign, AssignAdd, ImportRows, ImportTrials and
// EndTrials.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <shared_mutex>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/clamped_sum.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/finite_check.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

namespace monolith {
namespace {

// Finds or inserts the rows of a batch and calls
// write(position in the batch, its slot) for each; positions of one id come in
// ascending order, those of different stripes at once.
//
// With `are_sorted` they may be in the order of their hashes.
template <typename Write>
absl::Status WriteBatch(absl::Span<const int64_t> ids, bool are_sorted,
                        RowArena& arena, Stripe* stripes, StripeGate& gate,
                        Executor& executor, Write write) {
  const StripePartition partition(ids, executor);
  return ForEachStripeGroup(ids.size(), executor, [&](int first, int last) {
    const absl::Span<const uint32_t> positions =
        partition.Positions(first, last);
    if (positions.empty()) return absl::OkStatus();
    const StripeHold hold(stripes, gate, first, last);
    for (int stripe = first; are_sorted && stripe < last; ++stripe) {
      const size_t more = partition.Positions(stripe, stripe + 1).size();
      absl::Status status = stripes[stripe].Reserve(
          static_cast<uint64_t>(stripes[stripe].size()) + more);
      if (!status.ok()) return status;
    }
    return WriteRows(
        positions.size(), arena, stripes,
        [&](size_t i) { return ids[positions[i]]; },
        [&](size_t i, Stripe::Slot slot) { write(positions[i], slot); });
  });
}

// The first float of a row's state that is not in its range, NaN among them;
// the number of ranges if there is none.
size_t FindOutside(const float* state, absl::Span<const StateRange> ranges) {
  const auto is_inside = [&](size_t i) {
    return (state[i] >= ranges[i].least) & (state[i] <= ranges[i].most);
  };
  bool all = true;
  for (size_t i = 0; i < ranges.size(); ++i) all &= is_inside(i);
  if (all) return ranges.size();
  size_t i = 0;
  while (is_inside(i)) ++i;
  return i;
}

}  // namespace

void EmbeddingHashTable::Reserve(int64_t rows) {
  // A stripe has somewhat more than its share: four standard deviations.
  const double share = static_cast<double>(rows) / kNumStripes;
  const auto wanted = static_cast<uint64_t>(share + 4 * std::sqrt(share));
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  for (int i = 0; i < kNumStripes; ++i) {
    const StripeHold hold(stripes_.get(), *gate_, i, i + 1);
    if (!stripes_[i].Reserve(wanted).ok()) return;
  }
}

absl::Status EmbeddingHashTable::ValidateValues(absl::Span<const int64_t> ids,
                                                absl::Span<const float> values,
                                                Executor& executor) const {
  absl::Status status = CheckMatrix("values", ids.size(), values.size(), dim_);
  if (!status.ok()) return status;
  const size_t bad = FindNonFinite(values, executor);
  if (bad == values.size()) return absl::OkStatus();
  const size_t dim = static_cast<size_t>(dim_);
  return absl::InvalidArgumentError(absl::StrCat(
      "table '", config_.name, "': the value of id ", ids[bad / dim], " (row ",
      bad / dim, ", column ", bad % dim, ") is ", values[bad],
      ", wanted a finite number; no row was changed"));
}

absl::Status EmbeddingHashTable::Assign(absl::Span<const int64_t> ids,
                                        absl::Span<const float> values,
                                        uint32_t update_time,
                                        Executor& executor) {
  absl::Status status = ValidateValues(ids, values, executor);
  if (!status.ok()) return status;
  const size_t dim = static_cast<size_t>(dim_);
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  return WriteBatch(ids, /*are_sorted=*/false, *arena_, stripes_.get(), *gate_,
                    executor, [&](size_t position, Stripe::Slot slot) {
                      float* const row = arena_->Row(slot.row);
                      std::memcpy(row, values.data() + position * dim,
                                  dim * sizeof(float));
                      if (slot.inserted) schema_->InitState(row);
                      *arena_->UpdateTime(slot.row) = update_time;
                    });
}

absl::Status EmbeddingHashTable::AssignAdd(absl::Span<const int64_t> ids,
                                           absl::Span<const float> values,
                                           uint32_t update_time,
                                           Executor& executor) {
  absl::Status status = ValidateValues(ids, values, executor);
  if (!status.ok()) return status;
  const size_t dim = static_cast<size_t>(dim_);
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  return WriteBatch(ids, /*are_sorted=*/false, *arena_, stripes_.get(), *gate_,
                    executor, [&](size_t position, Stripe::Slot slot) {
                      float* const row = arena_->Row(slot.row);
                      if (slot.inserted) {
                        schema_->InitEmbedding(ids[position], row);
                        schema_->InitState(row);
                      }
                      AddClamped(values.data() + position * dim, dim, row);
                      *arena_->UpdateTime(slot.row) = update_time;
                    });
}

absl::Status EmbeddingHashTable::ValidateRows(
    absl::Span<const int64_t> ids, absl::Span<const float> embeddings,
    absl::Span<const float> states, Executor& executor) const {
  const size_t n = ids.size();
  absl::Status status = CheckMatrix("embeddings", n, embeddings.size(), dim_);
  status.Update(CheckMatrix("states", n, states.size(), state_dim_));
  if (!status.ok()) return status;
  const size_t bad = FindNonFinite(embeddings, executor);
  if (bad != embeddings.size()) {
    const size_t dim = static_cast<size_t>(dim_);
    return absl::InvalidArgumentError(absl::StrCat(
        "table '", config_.name, "': the embedding of id ", ids[bad / dim],
        " (row ", bad / dim, ", column ", bad % dim, ") is ", embeddings[bad],
        ", wanted a finite number; no row was changed"));
  }
  const size_t state_dim = static_cast<size_t>(state_dim_);
  for (size_t row = 0; state_dim > 0 && row < n; ++row) {
    const float* const state = states.data() + row * state_dim;
    const size_t column = FindOutside(state, schema_->state_ranges());
    if (column == state_dim) continue;
    const StateRange wanted = schema_->state_ranges()[column];
    return absl::InvalidArgumentError(absl::StrCat(
        "table '", config_.name, "': the optimizer state of id ", ids[row],
        " (row ", row, ", column ", column, ", of segment '",
        config_.segments[schema_->SegmentOfState(column)].name, "') is ",
        state[column], ", wanted ", wanted.least, " to ", wanted.most,
        "; no row was changed"));
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::ImportRows(
    absl::Span<const int64_t> ids, absl::Span<const float> embeddings,
    absl::Span<const float> states, absl::Span<const uint32_t> update_times,
    Executor& executor) {
  absl::Status status =
      CheckMatrix("update_times", ids.size(), update_times.size(), 1);
  status.Update(ValidateRows(ids, embeddings, states, executor));
  if (!status.ok()) return status;
  const size_t dim = static_cast<size_t>(dim_);
  const size_t state_dim = static_cast<size_t>(state_dim_);
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  return WriteBatch(ids, /*are_sorted=*/true, *arena_, stripes_.get(), *gate_,
                    executor, [&](size_t position, Stripe::Slot slot) {
                      float* const row = arena_->Row(slot.row);
                      std::copy_n(embeddings.data() + position * dim, dim, row);
                      std::copy_n(states.data() + position * state_dim,
                                  state_dim, row + dim);
                      *arena_->UpdateTime(slot.row) = update_times[position];
                    });
}

absl::StatusOr<bool> EmbeddingHashTable::ImportTrials(
    int stripe, const TrialBatch& trials) {
  absl::Status status = CheckStripe(stripe);
  if (!status.ok()) return status;
  if (filters_.empty() ||
      trials.num_buckets != filters_[stripe]->num_buckets()) {
    return false;
  }
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
  filters_[stripe]->Age(trials.aged);
  status = filters_[stripe]->ImportTrials(trials.trials);
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat("table '", config_.name,
                                                    "': ", status.message()));
  }
  return true;
}

absl::Status EmbeddingHashTable::EndTrials(absl::Span<const int64_t> ids,
                                           Executor& executor) {
  absl::Status status = CheckMatrix("ids", ids.size(), ids.size(), 1);
  if (!status.ok() || filters_.empty()) return status;
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const StripePartition partition(ids, executor);
  return ForEachStripeGroup(ids.size(), executor, [&](int first, int last) {
    const absl::Span<const uint32_t> positions =
        partition.Positions(first, last);
    if (positions.empty()) return absl::OkStatus();
    const StripeHold hold(stripes_.get(), *gate_, first, last);
    for (uint32_t position : positions) {
      const uint64_t hash = HashId(ids[position]);
      filters_[static_cast<size_t>(StripeOfHash(hash))]->Forget(hash);
    }
    return absl::OkStatus();
  });
}

}  // namespace monolith
