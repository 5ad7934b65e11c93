// Writes the file of a compact table (compact_format.h) from rows in any order.
//
//   auto writer = CompactTableWriter::Create(config, &scratch);
//   (*writer)->Add(ids, embeddings);   // as often as needed
//   (*writer)->Erase(other_ids);
//   absl::StatusOr<int64_t> rows = (*writer)->Finish(sink);
//
// What is written is what a table would have after the same calls: of an id the
// last one counts. Rows are encoded when they come and gathered by the hash of
// their ids, in the scratch file once there is more than `memory_bytes`;
// several writers may share both. Then one 256th of a table is sorted and
// written at a time.
//
// Thread safety: not thread-safe; neither are those of one CreateAll together.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_WRITER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/byte_files.h"
#include "monolith/native_training/runtime/compact_table/row_codec.h"
#include "monolith/native_training/runtime/compact_table/row_spill.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

class CompactTableWriter {
 public:
  static constexpr size_t kDefaultMemoryBytes = size_t{256} << 20;

  // InvalidArgument as of RowCodec::Create. `scratch` must outlive the writer.
  static absl::StatusOr<std::unique_ptr<CompactTableWriter>> Create(
      const TableConfig& config, ScratchFile* scratch,
      size_t memory_bytes = kDefaultMemoryBytes);

  // One for each config. Their rows share `scratch` and `memory_bytes`, so
  // Finish is to be called once all have all of their rows.
  static absl::StatusOr<std::vector<std::unique_ptr<CompactTableWriter>>>
  CreateAll(absl::Span<const TableConfig> configs, ScratchFile* scratch,
            size_t memory_bytes);

  int dim() const { return codec_.dim(); }

  // REQUIRES: as many embeddings as ids. Fails only if the scratch file does.
  absl::Status Add(absl::Span<const int64_t> ids,        // (n)
                   absl::Span<const float> embeddings);  // (n, dim)
  absl::Status Erase(absl::Span<const int64_t> ids);     // (n)

  // Writes the file; returns how many rows it has. To be called once, last.
  absl::StatusOr<int64_t> Finish(ByteSink& sink);

 private:
  CompactTableWriter(std::string schema, RowCodec codec,
                     std::shared_ptr<RowSpill> spill, size_t first_partition);

  absl::Status Append(int64_t id, uint8_t kind);

  const std::string schema_;
  const RowCodec codec_;
  const std::shared_ptr<RowSpill> spill_;
  const size_t first_partition_;  // of this table in `spill_`
  std::vector<uint8_t> entry_;    // the one that is being appended
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_COMPACT_TABLE_WRITER_H_
