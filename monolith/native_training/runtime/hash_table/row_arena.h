#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_ARENA_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/zeroed_memory.h"

namespace monolith {

// The rows of one table: fixed-size rows of floats with an update time each,
// addressed by 32-bit numbers, never moved.
//
//   chunk     one mapping of the kernel's: regions side by side
//   region    2^k rows, at least kRegionBytes: first the floats of all its
//             rows, then their update times
//   block     consecutive rows of one region, handed out together
//   directory region number -> its first float
//
// Memory is taken from the system as rows are first touched, so address space
// is reserved generously. Rows are not given back one by one: who was handed a
// block keeps it and reuses its rows.
//
// Thread safety: AllocateBlock and memory_bytes may be called together. Row
// and UpdateTime take no lock: the caller must have got the row's number,
// directly or through others' synchronization, from AllocateBlock. Reset
// excludes everything else.
//
// Example:
//   auto block = arena.AllocateBlock(64);
//   if (!block.ok()) return block.status();
//   float* row = arena.Row(block->first);  // zeros
class RowArena {
 public:
  // No row has this number.
  static constexpr uint32_t kNoRow = 0xffffffff;
  static constexpr uint64_t kMaxRows = kNoRow;
  static constexpr size_t kRegionBytes = size_t{4} << 20;

  struct Block {
    uint32_t first;
    uint32_t count;
  };

  // Rows of `row_floats` floats, at least 1; at most `max_rows` of them.
  static absl::StatusOr<std::unique_ptr<RowArena>> Create(
      size_t row_floats, uint64_t max_rows = kMaxRows);

  RowArena(const RowArena&) = delete;
  RowArena& operator=(const RowArena&) = delete;

  // Between 1 and `wanted` rows that nobody has had since the last Reset; all
  // their bytes are zero. ResourceExhausted without memory or row numbers.
  absl::StatusOr<Block> AllocateBlock(uint32_t wanted);

  size_t row_floats() const { return row_floats_; }

  float* Row(uint32_t row) const {
    return Region(row) + (row & region_mask_) * row_floats_;
  }

  // Seconds since the epoch, by the caller's use.
  uint32_t* UpdateTime(uint32_t row) const {
    float* const times = Region(row) + (region_mask_ + 1) * row_floats_;
    return reinterpret_cast<uint32_t*>(times) + (row & region_mask_);
  }

  // Bytes that the rows handed out have made resident.
  int64_t memory_bytes() const;

  // Takes back all rows and returns their memory to the system.
  void Reset();

 private:
  RowArena(size_t row_floats, uint64_t max_rows, int region_shift);

  float* Region(uint32_t row) const {
    return static_cast<float* const*>(directory_.data())[row >> region_shift_];
  }

  absl::Status MapDirectory();
  absl::Status MapRegions();

  const size_t row_floats_;
  const uint64_t max_rows_;
  const int region_shift_;
  const size_t region_mask_;
  ZeroedMemory directory_;  // an array of float*
  mutable std::mutex mutex_;
  std::vector<ZeroedMemory> chunks_;  // guarded by mutex_
  uint64_t num_regions_ = 0;          // guarded by mutex_
  uint64_t next_row_ = 0;             // guarded by mutex_
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_ARENA_H_
