// The file of a compact table: rows of one table, to be read only. README.md
// tells why it is as it is. Numbers are little-endian.
//
//   preamble   char[4] "MCTB"   uint32 version   uint64 0
//   blocks     of each bucket, in order:
//                int64 ids[n]              in the order of their hashes
//                uint8 rows[n][row_bytes]  see row_codec.h
//   index      uint32 partitions[257]      the first bucket of each partition,
//                                          and num_buckets
//              uint32 buckets[num_buckets + 1]  the first row of each bucket,
//                                          and num_rows
//              uint32 chunks[]             CRC-32C of each MiB of the blocks
//              char   schema[schema_bytes] JSON, as in table_config.h: name of
//                                          the table, and name, dim and
//                                          compressor of each segment
//   footer     char[4] "MCTE"   uint32 version
//              uint64 num_rows   uint64 row_bytes   uint64 num_buckets
//              uint64 schema_bytes
//              uint32 CRC-32C of the index
//              uint32 CRC-32C of the footer before this
//
// A partition has the ids of one value of the highest 8 bits of HashId; its
// buckets are equal ranges of the other bits. So rows are in the order of their
// hashes, and the same rows make the same file.
//
// All functions are pure.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_FORMAT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

inline constexpr uint32_t kCompactVersion = 1;
inline constexpr size_t kCompactPreambleBytes = 16;
inline constexpr size_t kCompactFooterBytes = 48;
inline constexpr size_t kCompactChunkBytes = size_t{1} << 20;
inline constexpr uint64_t kMaxCompactRows = 0xffffffff;

inline constexpr int kPartitionBits = 8;
inline constexpr size_t kNumPartitions = size_t{1} << kPartitionBits;

inline size_t PartitionOfHash(uint64_t hash) {
  return hash >> (64 - kPartitionBits);
}

// Which of the `num_buckets` buckets of its partition an id is in.
inline uint64_t BucketInPartition(uint64_t hash, uint64_t num_buckets) {
  return ReduceToRange(hash << kPartitionBits, num_buckets);
}

struct CompactFooter {
  uint64_t num_rows = 0;
  uint64_t row_bytes = 0;
  uint64_t num_buckets = 0;
  uint64_t schema_bytes = 0;
  uint32_t index_crc = 0;

  uint64_t blocks_bytes() const {
    return num_rows * (sizeof(int64_t) + row_bytes);
  }
  uint64_t num_chunks() const {
    return (blocks_bytes() + kCompactChunkBytes - 1) / kCompactChunkBytes;
  }
  uint64_t index_bytes() const {
    return sizeof(uint32_t) *
               (kNumPartitions + 1 + num_buckets + 1 + num_chunks()) +
           schema_bytes;
  }
  uint64_t file_bytes() const {
    return kCompactPreambleBytes + blocks_bytes() + index_bytes() +
           kCompactFooterBytes;
  }
};

std::vector<uint8_t> EncodeCompactPreamble();
// DataLoss if it is none; Unimplemented if the file is of a later version.
absl::Status CheckCompactPreamble(absl::Span<const uint8_t> bytes);

std::vector<uint8_t> EncodeCompactFooter(const CompactFooter& footer);
// DataLoss unless it is one, of a file of `file_bytes`. The sizes of the result
// are then small enough for sums and products of them.
absl::StatusOr<CompactFooter> DecodeCompactFooter(
    absl::Span<const uint8_t> bytes, uint64_t file_bytes);

// Without what serving does not need.
std::string EncodeCompactSchema(const TableConfig& config);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_FORMAT_H_
