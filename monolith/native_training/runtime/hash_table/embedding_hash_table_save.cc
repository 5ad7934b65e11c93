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

// What it writes in one go at least, if there is as much: where few rows have
// changed, each hold has a few, and each write costs as much as many.
constexpr size_t kSaveRows = 2048;

// What it writes in one go at most, of the ids that were erased.
constexpr size_t kSaveErased = 4096;

// Rows are as likely near each other as not: they are asked for in advance.
constexpr size_t kPrefetchRows = 16;

absl::Status WriteErased(absl::Span<const int64_t> ids,
                         EmbeddingHashTable::StripeWriter& writer) {
  for (size_t begin = 0; begin < ids.size(); begin += kSaveErased) {
    absl::Status status = writer.WriteErased(ids.subspan(begin, kSaveErased));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Empties `rows`.
absl::Status WriteRows(EmbeddingHashTable::RowBatch* rows,
                       EmbeddingHashTable::StripeWriter& writer) {
  if (rows->ids.empty()) return absl::OkStatus();
  absl::Status status = writer.WriteRows(*rows);
  rows->ids.clear();
  rows->embeddings.clear();
  rows->states.clear();
  rows->update_times.clear();
  return status;
}

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

// A reader applies what is written in order, so each hold takes the ids erased
// since the one before together with its trials or rows, and they are written
// before these, after what earlier holds copied. Whoever loses its row after it
// was copied is then in what the next hold takes, or else in the next save.
absl::Status EmbeddingHashTable::SaveStripe(int stripe, SaveMode mode,
                                            StripeWriter& writer) {
  absl::Status status = CheckStripe(stripe);
  if (!status.ok()) return status;
  if (mode == SaveMode::kAll) {
    std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
    const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
    stripes_[stripe].TakeErased();  // From here on they count.
  }
  if (!filters_.empty()) status = SaveTrials(stripe, mode, writer);
  if (status.ok()) status = SaveRows(stripe, mode, writer);
  return status;
}

absl::Status EmbeddingHashTable::TakeErased(int stripe, SaveMode mode,
                                            std::vector<int64_t>* erased) {
  erased->clear();
  if (mode == SaveMode::kCopy) return absl::OkStatus();
  if (!stripes_[stripe].knows_erased()) {
    // What is saved of them is still of this save's time.
    if (mode == SaveMode::kAll) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "table '", config_.name, "' has lost so many rows since it was last ",
        "saved that it does not know which; a save of everything has to ",
        "come first"));
  }
  *erased = stripes_[stripe].TakeErased();
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::SaveTrials(int stripe, SaveMode mode,
                                            StripeWriter& writer) {
  OccurrenceFilter& filter = *filters_[stripe];
  const bool takes = mode != SaveMode::kCopy;
  const bool only_changed = mode == SaveMode::kChanges;
  std::vector<int64_t> erased;
  TrialBatch trials;
  trials.num_buckets = filter.num_buckets();
  std::optional<OccurrenceFilter::Walk> walk;
  while (!walk.has_value() || !walk->is_over()) {
    trials.aged = 0;
    trials.trials.clear();
    {
      std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
      const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
      absl::Status status = TakeErased(stripe, mode, &erased);
      if (!status.ok()) return status;
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
    absl::Status status = WriteErased(erased, writer);
    if (!status.ok()) return status;
    if (trials.trials.empty() && trials.aged == 0) continue;
    status = writer.WriteTrials(trials);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EmbeddingHashTable::SaveRows(int stripe, SaveMode mode,
                                          StripeWriter& writer) {
  Stripe& source = stripes_[stripe];
  std::vector<int64_t> erased;
  Entries entries;
  RowBatch rows;   // to be written
  RowBatch later;  // after `erased`
  const auto keep = [&](int64_t id, uint32_t row) {
    entries.push_back({id, row});
  };
  uint64_t place = Stripe::kFirstPlace;
  while (place != Stripe::kPastPlaces) {
    entries.clear();
    {
      std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
      const StripeHold hold(stripes_.get(), *gate_, stripe, stripe + 1);
      absl::Status status = TakeErased(stripe, mode, &erased);
      if (!status.ok()) return status;
      place = mode == SaveMode::kCopy
                  ? source.ForEachFrom(place, kSaveBuckets, keep)
                  : source.TakeChangesFrom(place, kSaveBuckets,
                                           mode == SaveMode::kChanges, keep);
      CopyRows(entries, erased.empty() ? &rows : &later);
    }
    if (!erased.empty()) {
      absl::Status status = WriteRows(&rows, writer);
      if (status.ok()) status = WriteErased(erased, writer);
      if (!status.ok()) return status;
      std::swap(rows, later);
    }
    if (rows.ids.size() >= kSaveRows) {
      absl::Status status = WriteRows(&rows, writer);
      if (!status.ok()) return status;
    }
  }
  return WriteRows(&rows, writer);
}

}  // namespace monolith
