// Copying rows out of a table: ExportStripe and SaveStripe.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"

namespace monolith {
namespace {

using Entries = std::vector<std::pair<int64_t, uint32_t>>;

// What a save copies in one go, of an index or a filter: some thousand rows or
// trials, for which others wait for a fraction of a millisecond.
constexpr uint32_t kSaveBuckets = 512;

// What it looks up in one go, of the ids that were erased.
constexpr size_t kSaveErased = 4096;

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
  if (mode != SaveMode::kCopy) status = SaveErased(stripe, mode, writer);
  if (status.ok() && !filters_.empty()) {
    status = SaveTrials(stripe, mode, writer);
  }
  if (status.ok()) status = SaveRows(stripe, mode, writer);
  return status;
}

absl::Status EmbeddingHashTable::SaveErased(int stripe, SaveMode mode,
                                            StripeWriter& writer) {
  Stripe& source = stripes_[stripe];
  std::vector<int64_t> erased;
  {
    std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
    const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
    if (mode == SaveMode::kChanges && !source.knows_erased()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "table '", config_.name, "' has lost so many rows since it was last ",
          "saved that it does not know which; a save of everything has to ",
          "come first"));
    }
    erased = source.TakeErased();
  }
  if (mode != SaveMode::kChanges) return absl::OkStatus();
  std::vector<int64_t> part;
  for (size_t begin = 0; begin < erased.size(); begin += kSaveErased) {
    const size_t end = std::min(begin + kSaveErased, erased.size());
    part.clear();
    {
      std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
      std::shared_lock<std::shared_mutex> lock(source.mutex());
      for (size_t i = begin; i < end; ++i) {
        // One with a row again is among the rows.
        if (source.Find(erased[i], HashId(erased[i])) == RowArena::kNoRow) {
          part.push_back(erased[i]);
        }
      }
    }
    absl::Status status = writer.WriteErased(part);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::SaveTrials(int stripe, SaveMode mode,
                                            StripeWriter& writer) {
  OccurrenceFilter& filter = *filters_[stripe];
  const bool takes = mode != SaveMode::kCopy;
  const bool only_changed = mode == SaveMode::kChanges;
  TrialBatch trials;
  trials.num_buckets = filter.num_buckets();
  std::optional<OccurrenceFilter::Walk> walk;
  while (!walk.has_value() || !walk->is_over()) {
    trials.aged = 0;
    trials.trials.clear();
    {
      std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
      const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
      if (!walk.has_value()) {
        walk = takes ? filter.BeginTaking(&trials.aged) : filter.BeginWalk();
        if (!only_changed) trials.aged = 0;
      }
      if (takes) {
        filter.TakeNext(&*walk, kSaveBuckets, only_changed, &trials.trials);
      } else {
        filter.ExportNext(&*walk, kSaveBuckets, &trials.trials);
      }
    }
    if (trials.trials.empty() && trials.aged == 0) continue;
    absl::Status status = writer.WriteTrials(trials);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::SaveRows(int stripe, SaveMode mode,
                                          StripeWriter& writer) {
  Stripe& source = stripes_[stripe];
  absl::Status status;
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
      place = mode == SaveMode::kCopy
                  ? source.ForEachFrom(place, kSaveBuckets, keep)
                  : source.TakeChangesFrom(place, kSaveBuckets,
                                           mode == SaveMode::kChanges, keep);
      CopyRows(entries, &rows);
    }
    if (!entries.empty()) status = writer.WriteRows(rows);
  }
  return status;
}

}  // namespace monolith
