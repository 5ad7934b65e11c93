// A table that is only read: the rows of an exported model, as small as their
// compressors make them (compact_format.h, README.md).
//
//   absl::StatusOr<std::unique_ptr<CompactTable>> table =
//       CompactTable::Load(source, executor);
//   std::vector<float> values(ids.size() * (*table)->dim());
//   (*table)->Lookup(ids, absl::MakeSpan(values));
//
// Takes 8 bytes an id, a byte for its bucket, and the codes of its row; a few
// kilobytes at least. All of it is in memory, apart from the file.
//
// Thread safety: immutable once loaded.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/byte_files.h"
#include "monolith/native_training/runtime/compact_table/compact_format.h"
#include "monolith/native_training/runtime/compact_table/row_codec.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {

class CompactTable {
 public:
  // Reads and checks every byte. DataLoss: the file is damaged or was never
  // finished; Unimplemented: it is of a later version; ResourceExhausted: there
  // is no memory. Whatever the bytes are, a table that loads can be read.
  static absl::StatusOr<std::unique_ptr<CompactTable>> Load(
      const ByteSource& source, Executor& executor = InlineExecutor::Get());

  // Name and segments, with the compressors; the rest says nothing.
  const TableConfig& config() const { return config_; }
  int dim() const { return codec_.dim(); }
  int64_t size() const { return static_cast<int64_t>(footer_.num_rows); }
  int64_t memory_bytes() const;

  // Reads the embeddings of `ids`; zeros where there is no row.
  // InvalidArgument unless `values` has room for exactly those.
  absl::Status Lookup(absl::Span<const int64_t> ids,  // (n)
                      absl::Span<float> values,       // (n, dim)
                      Executor& executor = InlineExecutor::Get()) const;

 private:
  // Load, but that it throws std::bad_alloc where there is no memory.
  static absl::StatusOr<std::unique_ptr<CompactTable>> LoadOrThrow(
      const ByteSource& source, Executor& executor);

  CompactTable(TableConfig config, RowCodec codec, const CompactFooter& footer)
      : config_(std::move(config)),
        codec_(std::move(codec)),
        footer_(footer),
        entry_bytes_(sizeof(int64_t) + codec_.row_bytes()) {}

  absl::Status LoadBlocks(const ByteSource& source,
                          absl::Span<const uint32_t> checksums,
                          Executor& executor);
  // Whether the numbers of the index are such that lookups stay in bounds.
  absl::Status CheckIndex() const;
  // Whether each id is in its bucket, in order.
  absl::Status CheckIds(Executor& executor) const;
  absl::Status CheckBucket(size_t partition, uint32_t bucket) const;

  uint32_t BucketOf(int64_t id) const {
    const uint64_t hash = HashId(id);
    const size_t p = PartitionOfHash(hash);
    const uint32_t first = partitions_[p];
    return first + static_cast<uint32_t>(
                       BucketInPartition(hash, partitions_[p + 1] - first));
  }
  const uint8_t* BlockOf(uint32_t bucket) const {
    return static_cast<const uint8_t*>(blocks_.data()) +
           buckets_[bucket] * entry_bytes_;
  }
  void LookupPart(const int64_t* ids, size_t n, float* values) const;

  const TableConfig config_;
  const RowCodec codec_;
  const CompactFooter footer_;
  const size_t entry_bytes_;  // of an id and its row
  std::vector<uint32_t> partitions_;
  std::vector<uint32_t> buckets_;
  ZeroedMemory blocks_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_H_
