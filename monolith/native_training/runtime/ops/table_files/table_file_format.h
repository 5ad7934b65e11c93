// The records of a table file: what one server's tables look like on disk.
//
// A file is a sequence of records in TFRecord framing, which adds the length
// and CRC-32C of each. Every record starts with a tag of four characters:
//
//   "MTH1"  header, first:  JSON, see TableFileHeader
//   "MTB1"  block, any number of them: rows of one table in columns
//   "MTF1"  footer, last:   JSON {"rows": [rows of table 0, ...]}
//
// A file without a footer was never finished. A block is binary, all numbers
// little-endian:
//
//   char[4] "MTB1"   uint32 table      position in the header's tables
//   uint32 dim       uint32 state_dim
//   uint64 n
//   int64   ids[n]
//   float32 embeddings[n][dim]         segments one after the other
//   float32 states[n][state_dim]       segments one after the other
//   uint32  update_times[n]            seconds since the epoch
//
// All functions are pure.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// JSON: {"version": 1, "written_by": "...",
//        "tables": [{"config": {...}, "state_dims": [32]}]}
// "config" is as in table_config.h.
struct TableFileHeader {
  struct Table {
    TableConfig config;
    // Optimizer-state floats of each segment. Written down, so that a reader
    // need not know the optimizer.
    std::vector<int> state_dims;

    int dim() const;
    int state_dim() const;
  };

  std::string written_by;  // device name; for people
  std::vector<Table> tables;
};

struct RowBlock {
  uint32_t table = 0;
  uint32_t dim = 0;
  uint32_t state_dim = 0;
  EmbeddingHashTable::RowBatch rows;
};

enum class TableRecordKind { kHeader, kBlock, kFooter, kUnknown };
TableRecordKind KindOfRecord(absl::string_view record);

// Decoders return DataLoss for a record that no encoder made.
std::string EncodeHeader(const TableFileHeader& header);
absl::StatusOr<TableFileHeader> DecodeHeader(absl::string_view record);

// Encodes rows [begin, end) of a batch.
std::string EncodeBlock(uint32_t table, int dim, int state_dim,
                        const EmbeddingHashTable::RowBatch& rows, size_t begin,
                        size_t end);
absl::StatusOr<RowBlock> DecodeBlock(absl::string_view record);

std::string EncodeFooter(const std::vector<int64_t>& rows_of_tables);
absl::StatusOr<std::vector<int64_t>> DecodeFooter(absl::string_view record);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_TABLE_FILE_FORMAT_H_
