// Turns a batch's ids into one request per shard, each id once, and one index
// entry per id of the batch (request_format.h describes both).
//
// Ids are unique per table, so features that share a table share its rows.
// Within a request the ids of a table stand in the order of their first
// appearance, features taken in ascending order. Of tables that count them the
// request also says how often each id stood in the batch. The result depends on
// nothing else: not on the number of threads, nor on earlier batches.
//
//   auto sharder = IdSharder::Create({/*num_shards=*/2,
//                                     /*table_of_feature=*/{0, 1, 0},
//                                     /*table_dims=*/{32, 16}});
//   RETURN_IF_ERROR(sharder->Shard(ids_of_feature, executor, index));
//   for (s ...) requests[s] = allocate(sharder->RequestSize(s));
//   sharder->WriteRequests(requests);
//
// Keeps its scratch memory from batch to batch: reuse the object. Not
// thread-safe.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ID_SHARDER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ID_SHARDER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

class IdSharder {
 public:
  struct Options {
    int num_shards = 1;
    std::vector<int> table_of_feature;  // (num_features)
    std::vector<int64_t> table_dims;    // (num_tables), floats per row
    // The tables whose ids' occurrences are counted, which costs some time.
    std::vector<int> counted_tables = {};
  };

  // InvalidArgument for no features or tables, a feature of an unknown table,
  // or a number of shards or a dim that the format cannot hold.
  static absl::StatusOr<IdSharder> Create(Options options);

  // `index` receives one entry per id, feature by feature, and must be as long
  // as all features' ids together. Large batches of several tables spread over
  // the executor's threads.
  absl::Status Shard(absl::Span<const absl::Span<const int64_t>> ids_of_feature,
                     Executor& executor, absl::Span<int64_t> index);

  // Of the last batch: numbers in the shard's request.
  int64_t RequestSize(int shard) const;

  // Of the last batch: writes the request of every shard.
  // REQUIRES: requests[s] has RequestSize(s) numbers.
  void WriteRequests(absl::Span<const absl::Span<int64_t>> requests) const;

 private:
  struct Slot {
    int64_t id;
    int64_t entry;  // index entry of the id's row; negative: the slot is free
  };
  struct UniqueId {
    int64_t id;
    int64_t shard;
  };
  // Scratch of one table.
  struct Table {
    int64_t dim = 0;
    std::vector<int> features;        // of this table, ascending
    std::vector<Slot> slots;          // open addressing, a power of two
    size_t hint = 0;                  // distinct ids of the batch before
    std::vector<UniqueId> unique;     // in order of first appearance
    std::vector<int64_t> row_counts;  // (num_shards)
    bool is_counted = false;
    // (num_shards), each (row_counts[s]), if they are counted.
    std::vector<std::vector<uint16_t>> occurrences;
  };

  explicit IdSharder(Options options);

  absl::Status CheckBatch(
      absl::Span<const absl::Span<const int64_t>> ids_of_feature,
      size_t index_size);
  // Writes the entries of the table's features, counting offsets from `bases`:
  // per shard, where the table's rows begin in the value buffer.
  void Dedup(Table& table, absl::Span<const int64_t> bases,
             absl::Span<const absl::Span<const int64_t>> ids_of_feature,
             absl::Span<int64_t> index);
  // After Dedup: counts the occurrences of each row.
  void Count(Table& table, absl::Span<const int64_t> bases,
             absl::Span<const absl::Span<const int64_t>> ids_of_feature,
             absl::Span<const int64_t> index) const;
  static void Reset(Table& table, size_t num_ids);
  static void Grow(Table& table);

  Options options_;
  std::vector<Table> tables_;
  std::vector<int64_t> feature_begin_;  // (num_features) first entry in index
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ID_SHARDER_H_
