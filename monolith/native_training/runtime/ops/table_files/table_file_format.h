// The records of a table file: what one server's tables look like on disk.
//
// A file is a sequence of records in TFRecord framing, which adds the length
// and CRC-32C of each. Every record starts with a tag of four characters:
//
//   "MTH1"  header, first:  JSON, see TableFileHeader
//   "MTB1"  block, any number of them: rows of one table in columns
//   "MTE1"  erased, any number of them: ids of one table that lost their rows
//   "MTA1"  aged, any number of them: ids on trial of one stripe become older
//   "MTT1"  trials, any number of them: ids on trial of one stripe of a table
//   "MTF1"  footer, last:   JSON, see TableFileFooter
//
// A file without a footer was never finished. This program writes version 4 and
// reads all: version 1 had no trials, 2 no erased ids and no save, and in 3 a
// save of changes had all trials. All but header and footer are binary, all
// numbers little-endian:
//
//   char[4] "MTB1"   uint32 table      position in the header's tables
//   uint32 dim       uint32 state_dim
//   uint64 n
//   int64   ids[n]
//   float32 embeddings[n][dim]         segments one after the other
//   float32 states[n][state_dim]       segments one after the other
//   uint32  update_times[n]            seconds since the epoch
//
//   char[4] "MTE1"   uint32 table      position in the header's tables
//   uint64 n
//   int64   ids[n]                     may have a row in a later block
//
//   char[4] "MTA1"   uint32 table      position in the header's tables
//   uint32 stripe    uint32 num_buckets
//   uint32 aged                        generations, 1 .. 14; see trial.h
//
//   char[4] "MTT1"   uint32 table      position in the header's tables
//   uint32 stripe    uint32 num_buckets
//   uint64 n
//   uint32  buckets[n]                 below num_buckets; see trial.h
//   uint32  fingerprints[n]            20 bits
//   uint16  occurrences[n]
//   uint8   ages[n]                    0 .. 14
//
// A reader applies the records in their order. README.md tells what files make
// a checkpoint. All functions are pure.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_filter/trial.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// What this program writes, and from which version on a save of changes has
// only the trials that have changed.
constexpr int kTableFileVersion = 4;
constexpr int kFirstWithChangedTrials = 4;

// Which of the servers that the ids are spread over; see ShardOfId.
struct TableShard {
  int index = 0;
  int count = 1;
};

inline bool operator==(const TableShard& a, const TableShard& b) {
  return a.index == b.index && a.count == b.count;
}

// Which save a file is a part of.
struct TableSave {
  std::string id;  // the same in all its files; empty: a file by itself
  std::string
      base;  // the save that it has the changes since; empty: since ever
  int file_index = 0;
  int num_files = 1;  // that each server has written
};

// JSON: {"version": 4, "written_by": "...", "shard": [0, 1],
//        "save": "5f...", "base": "", "file": [0, 2],
//        "tables": [{"config": {...}, "state_dims": [32],
//                    "expected_rows": 1000}]}
// "config" is as in table_config.h; "shard" and "file" are index and count.
struct TableFileHeader {
  struct Table {
    TableConfig config;
    // About how many rows the file has, for a reader to make room; 0 if that is
    // not known.
    int64_t expected_rows = 0;
    // Optimizer-state floats of each segment. Written down, so that a reader
    // need not know the optimizer.
    std::vector<int> state_dims;

    int dim() const;
    int state_dim() const;
  };

  std::string written_by;  // device name; for people
  TableShard shard;        // of the tables; version 1 does not tell it
  TableSave save;          // a file by itself, before version 3
  std::vector<Table> tables;
  int version = kTableFileVersion;  // that the decoder has read
};

struct RowBlock {
  uint32_t table = 0;
  uint32_t dim = 0;
  uint32_t state_dim = 0;
  EmbeddingHashTable::RowBatch rows;
};

struct ErasedBlock {
  uint32_t table = 0;
  std::vector<int64_t> ids;
};

// Ids on trial of one stripe, or some of them; or that those before are aged.
struct TrialBlock {
  uint32_t table = 0;
  uint32_t stripe = 0;
  TrialBatch batch;
};

// What a table has in a file.
struct TableCounts {
  int64_t rows = 0;
  int64_t trials = 0;
  int64_t erased = 0;
};

// JSON: {"rows": [3], "trials": [0], "erased": [1]}, a number a table. Only
// "rows" is in every version.
using TableFileFooter = std::vector<TableCounts>;

enum class TableRecordKind {
  kHeader,
  kBlock,
  kErased,
  kTrials,
  kAged,
  kFooter,
  kUnknown
};
TableRecordKind KindOfRecord(absl::string_view record);

// Texts that are not UTF-8 have the character U+FFFD where they are not.
// Decoders return DataLoss for a record that no encoder made.
std::string EncodeHeader(const TableFileHeader& header);
absl::StatusOr<TableFileHeader> DecodeHeader(absl::string_view record);

// Encodes rows [begin, end) of a batch.
std::string EncodeBlock(uint32_t table, int dim, int state_dim,
                        const EmbeddingHashTable::RowBatch& rows, size_t begin,
                        size_t end);
absl::StatusOr<RowBlock> DecodeBlock(absl::string_view record);

std::string EncodeErased(uint32_t table, absl::Span<const int64_t> ids);
absl::StatusOr<ErasedBlock> DecodeErased(absl::string_view record);

// Encodes trials [begin, end) of a stripe.
std::string EncodeTrials(uint32_t table, uint32_t stripe,
                         const TrialBatch& batch, size_t begin, size_t end);
absl::StatusOr<TrialBlock> DecodeTrials(absl::string_view record);

// How much older the trials of a stripe are that are not in the batch.
std::string EncodeAged(uint32_t table, uint32_t stripe,
                       const TrialBatch& batch);
absl::StatusOr<TrialBlock> DecodeAged(absl::string_view record);

std::string EncodeFooter(const TableFileFooter& footer);
absl::StatusOr<TableFileFooter> DecodeFooter(absl::string_view record);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_
