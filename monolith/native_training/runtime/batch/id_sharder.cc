#include "monolith/native_training/runtime/batch/id_sharder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

// Below this many ids, waking threads costs more than it saves.
constexpr int64_t kMinParallelIds = 16384;

// Slots are fetched this many ids ahead of use.
constexpr size_t kPrefetchGroup = 16;

constexpr size_t kMinSlots = 64;

}  // namespace

absl::StatusOr<IdSharder> IdSharder::Create(Options options) {
  if (options.num_shards < 1 || options.num_shards > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_shards must be in 1 .. ", kMaxShards, ", got ",
                     options.num_shards));
  }
  if (options.table_dims.empty() || options.table_of_feature.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there must be a table and a feature, got ", options.table_dims.size(),
        " tables and ", options.table_of_feature.size(), " features"));
  }
  const int num_tables = static_cast<int>(options.table_dims.size());
  for (int t = 0; t < num_tables; ++t) {
    const int64_t dim = options.table_dims[t];
    if (dim < 1 || dim > kMaxRowFloats) {
      return absl::InvalidArgumentError(
          absl::StrCat("table_dims[", t, "] must be in 1 .. ", kMaxRowFloats,
                       ", got ", dim));
    }
  }
  for (size_t f = 0; f < options.table_of_feature.size(); ++f) {
    const int table = options.table_of_feature[f];
    if (table < 0 || table >= num_tables) {
      return absl::InvalidArgumentError(
          absl::StrCat("table_of_feature[", f, "] must be in 0 .. ",
                       num_tables - 1, ", got ", table));
    }
  }
  for (int table : options.counted_tables) {
    if (table < 0 || table >= num_tables) {
      return absl::InvalidArgumentError(absl::StrCat(
          "counted_tables must be in 0 .. ", num_tables - 1, ", got ", table));
    }
  }
  return IdSharder(std::move(options));
}

IdSharder::IdSharder(Options options)
    : options_(std::move(options)),
      tables_(options_.table_dims.size()),
      feature_begin_(options_.table_of_feature.size()) {
  for (size_t t = 0; t < tables_.size(); ++t) {
    tables_[t].dim = options_.table_dims[t];
    tables_[t].row_counts.resize(options_.num_shards);
  }
  for (int table : options_.counted_tables) {
    tables_[table].is_counted = true;
    tables_[table].occurrences.resize(options_.num_shards);
  }
  for (size_t f = 0; f < options_.table_of_feature.size(); ++f) {
    tables_[options_.table_of_feature[f]].features.push_back(
        static_cast<int>(f));
  }
}

absl::Status IdSharder::CheckBatch(
    absl::Span<const absl::Span<const int64_t>> ids_of_feature,
    size_t index_size) {
  if (ids_of_feature.size() != feature_begin_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("ids of ", ids_of_feature.size(),
                     " features given, wanted ", feature_begin_.size()));
  }
  size_t num_ids = 0;
  int64_t num_floats = 0;
  for (size_t f = 0; f < ids_of_feature.size(); ++f) {
    feature_begin_[f] = num_ids;
    num_ids += ids_of_feature[f].size();
    const int64_t dim = tables_[options_.table_of_feature[f]].dim;
    int64_t floats = 0;
    if (__builtin_mul_overflow(static_cast<int64_t>(ids_of_feature[f].size()),
                               dim, &floats) ||
        floats >= kMaxBufferFloats - num_floats) {
      return absl::InvalidArgumentError(
          absl::StrCat("rows of a batch must have fewer than 2^",
                       kIndexOffsetBits, " floats, but feature ", f, " has ",
                       ids_of_feature[f].size(), " ids of dim ", dim));
    }
    num_floats += floats;
  }
  if (index_size != num_ids) {
    return absl::InvalidArgumentError(
        absl::StrCat("index has ", index_size,
                     " entries, wanted one per id, which is ", num_ids));
  }
  return absl::OkStatus();
}

absl::Status IdSharder::Shard(
    absl::Span<const absl::Span<const int64_t>> ids_of_feature,
    Executor& executor, absl::Span<int64_t> index) {
  if (absl::Status status = CheckBatch(ids_of_feature, index.size());
      !status.ok()) {
    return status;
  }
  std::vector<int64_t> bases(options_.num_shards, 0);
  const auto advance = [&bases](const Table& table) {
    for (size_t s = 0; s < bases.size(); ++s) {
      bases[s] += table.row_counts[s] * table.dim;
    }
  };
  const bool parallel = tables_.size() > 1 && executor.num_threads() > 1 &&
                        static_cast<int64_t>(index.size()) >= kMinParallelIds;
  if (!parallel) {
    for (Table& table : tables_) {
      Dedup(table, bases, ids_of_feature, index);
      advance(table);
    }
    return absl::OkStatus();
  }
  // Where a table's rows begin is known once the tables before it are done, so
  // each counts from 0 and its entries move afterwards.
  executor.ParallelFor(tables_.size(), [&](int64_t t) {
    Dedup(tables_[t], bases, ids_of_feature, index);
  });
  std::vector<std::vector<int64_t>> bases_of_table;
  bases_of_table.reserve(tables_.size());
  for (const Table& table : tables_) {
    bases_of_table.push_back(bases);
    advance(table);
  }
  executor.ParallelFor(ids_of_feature.size(), [&](int64_t f) {
    const std::vector<int64_t>& table_bases =
        bases_of_table[options_.table_of_feature[f]];
    for (int64_t& entry :
         index.subspan(feature_begin_[f], ids_of_feature[f].size())) {
      entry += table_bases[ShardOfIndex(entry)];
    }
  });
  return absl::OkStatus();
}

void IdSharder::Dedup(
    Table& table, absl::Span<const int64_t> bases,
    absl::Span<const absl::Span<const int64_t>> ids_of_feature,
    absl::Span<int64_t> index) {
  size_t num_ids = 0;
  for (int f : table.features) num_ids += ids_of_feature[f].size();
  Reset(table, num_ids);
  uint64_t hashes[kPrefetchGroup];
  for (int f : table.features) {
    const absl::Span<const int64_t> ids = ids_of_feature[f];
    int64_t* entries = index.data() + feature_begin_[f];
    for (size_t begin = 0; begin < ids.size(); begin += kPrefetchGroup) {
      const size_t n = std::min(kPrefetchGroup, ids.size() - begin);
      for (size_t i = 0; i < n; ++i) {
        hashes[i] = HashId(ids[begin + i]);
        __builtin_prefetch(&table.slots[hashes[i] & (table.slots.size() - 1)],
                           1);
      }
      for (size_t i = 0; i < n; ++i) {
        const int64_t id = ids[begin + i];
        const size_t mask = table.slots.size() - 1;
        size_t at = hashes[i] & mask;
        while (table.slots[at].entry >= 0 && table.slots[at].id != id) {
          at = (at + 1) & mask;
        }
        int64_t entry = table.slots[at].entry;
        if (entry < 0) {
          const int64_t shard = ShardOfId(id, options_.num_shards);
          const int64_t row = table.row_counts[shard]++;
          entry = EncodeIndex(shard, bases[shard] + row * table.dim);
          table.slots[at] = {id, entry};
          table.unique.push_back({id, shard});
          if (table.unique.size() * 2 > table.slots.size()) Grow(table);
        }
        entries[begin + i] = entry;
      }
    }
  }
  if (table.is_counted) Count(table, bases, ids_of_feature, index);
}

void IdSharder::Count(
    Table& table, absl::Span<const int64_t> bases,
    absl::Span<const absl::Span<const int64_t>> ids_of_feature,
    absl::Span<const int64_t> index) const {
  for (size_t s = 0; s < bases.size(); ++s) {
    table.occurrences[s].assign(table.row_counts[s], 0);
  }
  for (int f : table.features) {
    for (int64_t entry :
         index.subspan(feature_begin_[f], ids_of_feature[f].size())) {
      const int64_t shard = ShardOfIndex(entry);
      const int64_t row = (OffsetOfIndex(entry) - bases[shard]) / table.dim;
      uint16_t& occurrences = table.occurrences[shard][row];
      if (occurrences < kMaxOccurrences) ++occurrences;
    }
  }
}

void IdSharder::Reset(Table& table, size_t num_ids) {
  // Batches resemble each other: room for as many distinct ids as last time,
  // so that a batch of few distinct ids stays in the nearest cache.
  if (!table.unique.empty()) table.hint = table.unique.size();
  const size_t expected = std::min(num_ids, table.hint);
  size_t num_slots = kMinSlots;
  while (num_slots < expected * 2 + 2) num_slots *= 2;
  table.slots.assign(num_slots, Slot{0, -1});
  table.unique.clear();
  std::fill(table.row_counts.begin(), table.row_counts.end(), 0);
}

void IdSharder::Grow(Table& table) {
  std::vector<Slot> slots(table.slots.size() * 2, Slot{0, -1});
  const size_t mask = slots.size() - 1;
  for (const Slot& slot : table.slots) {
    if (slot.entry < 0) continue;
    size_t at = HashId(slot.id) & mask;
    while (slots[at].entry >= 0) at = (at + 1) & mask;
    slots[at] = slot;
  }
  table.slots = std::move(slots);
}

int64_t IdSharder::RequestSize(int shard) const {
  int64_t size = tables_.size();
  for (const Table& table : tables_) {
    const int64_t rows = table.row_counts[shard];
    size += rows + (table.is_counted ? OccurrenceNumbers(rows) : 0);
  }
  return size;
}

void IdSharder::WriteRequests(
    absl::Span<const absl::Span<int64_t>> requests) const {
  std::vector<int64_t*> next(requests.size());
  for (size_t s = 0; s < requests.size(); ++s) {
    for (size_t t = 0; t < tables_.size(); ++t) {
      requests[s][t] = tables_[t].row_counts[s] +
                       (tables_[t].is_counted ? kOccurrencesFlag : 0);
    }
    next[s] = requests[s].data() + tables_.size();
  }
  for (const Table& table : tables_) {
    for (const UniqueId& unique : table.unique) {
      *next[unique.shard]++ = unique.id;
    }
  }
  for (const Table& table : tables_) {
    for (size_t s = 0; table.is_counted && s < requests.size(); ++s) {
      const int64_t numbers = OccurrenceNumbers(table.row_counts[s]);
      PackOccurrences(table.occurrences[s],
                      {next[s], static_cast<size_t>(numbers)});
      next[s] += numbers;
    }
  }
}

}  // namespace monolith
