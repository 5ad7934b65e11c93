// Copying rows out of a table: ExportStripe and SaveStripe.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"

namespace monolith {
namespace {

using Entries = std::vector<std::pair<int64_t, uint32_t>>;

// What a save copies in one go: some thousand rows, for which others wait for a
// fraction of a millisecond.
constexpr uint64_t kSaveBuckets = 512;

// Rows are as likely near each other as not: they are asked for in advance.
constexpr size_t kPrefetchRows = 16;

}  // namespace

void EmbeddingHashTable::CopyRows(
    absl::Span<const std::pair<int64_t, uint32_t>> entries,
    RowBatch* rows) const {
  const size_t begin = rows->ids.size();
  const size_t n = begin + entries.size();
  const size_t dim = static_cast<size_t>(dim_);
  const size_t state_dim = static_cast<size_t>(state_dim_);
  rows->ids.resize(n);
  rows->embeddings.resize(n * dim);
  rows->states.resize(n * state_dim);
  rows->update_times.resize(n);
  for (size_t i = begin; i < n; ++i) {
    if (i + kPrefetchRows < n) {
      PrefetchRow(*arena_, entries[i - begin + kPrefetchRows].second,
                  (dim + state_dim) * sizeof(float));
    }
    const auto [id, row] = entries[i - begin];
    const float* const floats = arena_->Row(row);
    rows->ids[i] = id;
    std::memcpy(rows->embeddings.data() + i * dim, floats, dim * sizeof(float));
    if (state_dim > 0) {
      std::memcpy(rows->states.data() + i * state_dim, floats + dim,
                  state_dim * sizeof(float));
    }
    rows->update_times[i] = *arena_->UpdateTime(row);
  }
}

absl::Status EmbeddingHashTable::ExportStripe(int stripe, RowBatch* out,
                                              TrialBatch* trials) const {
  absl::Status status = CheckStripe(stripe);
  if (!status.ok()) return status;
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const Stripe& source = stripes_[stripe];
  std::shared_lock<std::shared_mutex> lock(source.mutex());
  Entries entries;
  entries.reserve(static_cast<size_t>(source.size()));
  source.ForEach([&](int64_t id, uint32_t row) {
    entries.push_back({id, row});
  });
  CopyRows(entries, out);
  if (trials == nullptr) return absl::OkStatus();
  *trials = TrialBatch();
  if (!filters_.empty()) {
    trials->num_buckets = filters_[stripe]->num_buckets();
    filters_[stripe]->ExportTrials(&trials->trials);
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::SaveStripe(int stripe, SaveMode mode,
                                            StripeWriter& writer) {
  absl::Status status = CheckStripe(stripe);
  if (!status.ok()) return status;
  Stripe& source = stripes_[stripe];
  const bool takes = mode != SaveMode::kCopy;
  const bool only_changed = mode == SaveMode::kChanges;
  std::vector<int64_t> erased;
  TrialBatch trials;
  {
    std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
    const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
    if (takes) erased = source.TakeErased();
    if (!filters_.empty()) {
      trials.num_buckets = filters_[stripe]->num_buckets();
      filters_[stripe]->ExportTrials(&trials.trials);
    }
  }
  if (only_changed) status = writer.WriteErased(erased);
  if (status.ok()) status = writer.WriteTrials(trials);
  Entries entries;
  RowBatch rows;
  uint64_t place = Stripe::kFirstPlace;
  while (status.ok() && place != Stripe::kPastPlaces) {
    entries.clear();
    rows.ids.clear();
    rows.embeddings.clear();
    rows.states.clear();
    rows.update_times.clear();
    const auto keep = [&](int64_t id, uint32_t row) {
      entries.push_back({id, row});
    };
    {
      std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
      const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
      place = takes ? source.TakeChangesFrom(place, kSaveBuckets, only_changed,
                                             keep)
                    : source.ForEachFrom(place, kSaveBuckets, keep);
      CopyRows(entries, &rows);
    }
    if (!entries.empty()) status = writer.WriteRows(rows);
  }
  return status;
}

}  // namespace monolith
