// The table as a whole: making, counting, emptying. Reading and writing rows
// are in embedding_hash_table_{read,write,train}.cc.

#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/index_memory.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"
#include "monolith/native_training/runtime/hash_table/stripe_gate.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

namespace monolith {
namespace {

// What Evict looks at in one go: some thousand rows, in which others wait for
// about a tenth of a millisecond.
constexpr uint64_t kEvictBuckets = 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddingHashTable>> EmbeddingHashTable::Create(
    TableConfig config) {
  absl::Status status = ValidateTableConfig(config);
  if (!status.ok()) return status;
  auto schema = RowSchema::Create(config);
  if (!schema.ok()) return schema.status();
  auto arena = RowArena::Create((*schema)->row_floats());
  if (!arena.ok()) return arena.status();
  return std::unique_ptr<EmbeddingHashTable>(new EmbeddingHashTable(
      std::move(config), *std::move(schema), *std::move(arena)));
}

EmbeddingHashTable::EmbeddingHashTable(TableConfig config,
                                       std::unique_ptr<RowSchema> schema,
                                       std::unique_ptr<RowArena> arena)
    : config_(std::move(config)),
      schema_(std::move(schema)),
      dim_(schema_->dim()),
      state_dim_(schema_->state_dim()),
      arena_(std::move(arena)),
      index_memory_(new IndexMemory),
      stripes_(new Stripe[kNumStripes]),
      gate_(new StripeGate) {
  for (int i = 0; i < kNumStripes; ++i) {
    stripes_[i].Attach(*index_memory_, i);
  }
  if (config_.occurrence_threshold == 0) return;
  for (int i = 0; i < kNumStripes; ++i) {
    filters_.push_back(std::make_unique<OccurrenceFilter>(
        config_.admission_capacity, kNumStripes));
  }
}

EmbeddingHashTable::~EmbeddingHashTable() = default;

absl::Status EmbeddingHashTable::CheckMatrix(const char* what, size_t num_ids,
                                             size_t got, int width) const {
  if (num_ids > StripePartition::kMaxIds) {
    return absl::InvalidArgumentError(
        absl::StrCat("table '", config_.name, "': a batch has at most ",
                     StripePartition::kMaxIds, " ids, got ", num_ids));
  }
  if (got == num_ids * static_cast<size_t>(width)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table '", config_.name, "': ", what, " must have ", num_ids,
                   " x ", width, " = ", num_ids * static_cast<size_t>(width),
                   " entries for ", num_ids, " ids, got ", got));
}

absl::Status EmbeddingHashTable::CheckStripe(int stripe) const {
  if (stripe >= 0 && stripe < kNumStripes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table '", config_.name, "': stripe must be from 0 to ",
                   kNumStripes - 1, ", got ", stripe));
}

absl::StatusOr<int64_t> EmbeddingHashTable::Erase(absl::Span<const int64_t> ids,
                                                  Executor& executor) {
  absl::Status status = CheckMatrix("ids", ids.size(), ids.size(), 1);
  if (!status.ok()) return status;
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const StripePartition partition(ids, executor);
  std::atomic<int64_t> erased{0};
  status = ForEachStripeGroup(ids.size(), executor, [&](int first, int last) {
    const absl::Span<const uint32_t> positions =
        partition.Positions(first, last);
    if (positions.empty()) return absl::OkStatus();
    int64_t count = 0;
    const StripeHold hold(stripes_.get(), *gate_, first, last);
    for (uint32_t position : positions) {
      const int64_t id = ids[position];
      const uint64_t hash = HashId(id);
      if (stripes_[StripeOfHash(hash)].Erase(id, hash, *arena_)) ++count;
    }
    erased.fetch_add(count, std::memory_order_relaxed);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return erased.load(std::memory_order_relaxed);
}

int64_t EmbeddingHashTable::Evict(uint32_t now_seconds, Executor& executor) {
  return EvictPart(now_seconds, 0, 1, executor);
}

int64_t EmbeddingHashTable::EvictPart(uint32_t now_seconds, int part,
                                      int num_parts, Executor& executor) {
  const auto stripes_before = [&](int64_t p) {
    return static_cast<int>(p * kNumStripes / num_parts);
  };
  const int begin = stripes_before(part),
            end = stripes_before(int64_t{part} + 1);
  constexpr double kSecondsPerDay = 86400;
  const double oldest = now_seconds - config_.expire_time_days * kSecondsPerDay;
  if (oldest <= 0) return 0;
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  std::atomic<int64_t> evicted{0};
  executor.ParallelFor(end - begin, [&](int64_t i) {
    const int first = begin + static_cast<int>(i);
    Stripe& stripe = stripes_[first];
    std::vector<std::pair<int64_t, uint32_t>> rows;
    int64_t count = 0;
    uint64_t place = Stripe::kFirstPlace;
    while (place != Stripe::kPastPlaces) {
      rows.clear();
      const StripeHold hold(stripes_.get(), *gate_, first, first + 1);
      place = stripe.ForEachFrom(place, kEvictBuckets,
                                 [&](int64_t id, uint32_t row) {
                                   rows.emplace_back(id, row);
                                   __builtin_prefetch(arena_->UpdateTime(row));
                                 });
      for (const auto& [id, row] : rows) {
        if (*arena_->UpdateTime(row) >= oldest) continue;
        stripe.Erase(id, HashId(id), *arena_);
        ++count;
      }
    }
    evicted.fetch_add(count, std::memory_order_relaxed);
  });
  return evicted.load(std::memory_order_relaxed);
}

void EmbeddingHashTable::Clear() {
  std::unique_lock<std::shared_mutex> clear_lock(clear_mutex_);
  for (int i = 0; i < kNumStripes; ++i) stripes_[i].Clear();
  for (const auto& filter : filters_) filter->Clear();
  index_memory_->Reset();
  arena_->Reset();
}

absl::Span<const float> EmbeddingHashTable::initial_state(int segment) const {
  return schema_->initial_state(segment);
}

int64_t EmbeddingHashTable::size() const {
  int64_t total = 0;
  for (int i = 0; i < kNumStripes; ++i) total += stripes_[i].size();
  return total;
}

int64_t EmbeddingHashTable::memory_bytes() const {
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  int64_t total = static_cast<int64_t>(sizeof(*this)) +
                  kNumStripes * static_cast<int64_t>(sizeof(Stripe)) +
                  static_cast<int64_t>(sizeof(StripeGate)) +
                  static_cast<int64_t>(sizeof(IndexMemory)) +
                  index_memory_->memory_bytes() + arena_->memory_bytes();
  for (int i = 0; i < kNumStripes; ++i) total += stripes_[i].erased_bytes();
  for (const auto& filter : filters_) {
    total += static_cast<int64_t>(sizeof(*filter)) + filter->memory_bytes();
  }
  return total;
}

int EmbeddingHashTable::num_stripes() const { return kNumStripes; }

bool EmbeddingHashTable::KnowsChanges() const {
  for (int i = 0; i < kNumStripes; ++i) {
    if (!stripes_[i].knows_erased()) return false;
  }
  return true;
}

}  // namespace monolith
