// Entries, those of a partition of one size, gathered by partition: in memory
// up to a limit, beyond it in a scratch file, which is written and read in
// pieces as large as the limit allows.
//
// Thread safety: not thread-safe.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_SPILL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_SPILL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/compact_table/byte_files.h"

namespace monolith {

class RowSpill {
 public:
  // `scratch` must outlive this; it is not touched below the limit.
  RowSpill(size_t num_partitions, size_t memory_bytes, ScratchFile* scratch)
      : memory_bytes_(memory_bytes),
        scratch_(scratch),
        partitions_(num_partitions) {}

  absl::Status Append(size_t partition, absl::Span<const uint8_t> entry);

  // All entries of a partition in the order they were appended. They are gone
  // from here then.
  absl::StatusOr<std::vector<uint8_t>> Take(size_t partition);

 private:
  struct Piece {
    uint64_t offset;  // in the scratch file
    size_t bytes;
  };
  struct Partition {
    std::vector<Piece> pieces;
    std::vector<uint8_t> tail;  // what came after them
  };

  absl::Status WriteTails();

  const size_t memory_bytes_;
  ScratchFile* const scratch_;
  std::vector<Partition> partitions_;
  size_t tail_bytes_ = 0;
  uint64_t scratch_bytes_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_SPILL_H_
