#include "monolith/native_training/runtime/hash_table/row_arena.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace monolith {
namespace {

// A block never spans regions, so a region holds a few of the largest.
constexpr int kMinRegionShift = 8;
constexpr uint64_t kMaxChunkRegions = 64;

int RegionShift(size_t row_floats) {
  int shift = kMinRegionShift;
  while (((row_floats + 1) * sizeof(float)) << shift < RowArena::kRegionBytes) {
    ++shift;
  }
  return shift;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowArena>> RowArena::Create(size_t row_floats,
                                                           uint64_t max_rows) {
  auto arena = std::unique_ptr<RowArena>(
      new RowArena(row_floats, max_rows, RegionShift(row_floats)));
  absl::Status status = arena->MapDirectory();
  if (!status.ok()) return status;
  return arena;
}

RowArena::RowArena(size_t row_floats, uint64_t max_rows, int region_shift)
    : row_floats_(row_floats),
      max_rows_(std::min(max_rows, kMaxRows)),
      region_shift_(region_shift),
      region_mask_((size_t{1} << region_shift) - 1) {}

absl::StatusOr<RowArena::Block> RowArena::AllocateBlock(uint32_t wanted) {
  std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t first = next_row_;
  if (first >= max_rows_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the table is full: it has no more than ", max_rows_,
                     " rows; spread it over more servers or evict rows"));
  }
  if (first == num_regions_ << region_shift_) {
    absl::Status status = MapRegions();
    if (!status.ok()) return status;
  }
  const uint64_t region_end = ((first >> region_shift_) + 1) << region_shift_;
  const uint64_t end = std::min({first + wanted, region_end, max_rows_});
  next_row_ = end;
  return Block{static_cast<uint32_t>(first),
               static_cast<uint32_t>(end - first)};
}

int64_t RowArena::memory_bytes() const {
  // The lock is not held for the look: who inserts must not wait for it.
  std::vector<ZeroedMemory::Extent> extents = {directory_.extent()};
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const ZeroedMemory& chunk : chunks_) extents.push_back(chunk.extent());
  }
  size_t bytes = 0;
  for (const auto& extent : extents) bytes += extent.resident_bytes();
  return static_cast<int64_t>(bytes);
}

void RowArena::Reset() {
  std::lock_guard<std::mutex> lock(mutex_);
  chunks_.clear();
  num_regions_ = 0;
  next_row_ = 0;
}

absl::Status RowArena::MapDirectory() {
  const uint64_t regions = ((max_rows_ - 1) >> region_shift_) + 1;
  auto memory = ZeroedMemory::Create(regions * sizeof(float*),
                                     ZeroedMemory::Pages::kSmall);
  if (!memory.ok()) return memory.status();
  directory_ = *std::move(memory);
  return absl::OkStatus();
}

// Few mappings, because a process may only have some 65,000: a chunk is up to a
// quarter of what there is. Small tables stay on small pages, since each huge
// page could waste 2 MB.
absl::Status RowArena::MapRegions() {
  const size_t region_bytes = (row_floats_ + 1) * sizeof(float)
                              << region_shift_;
  const uint64_t all_regions = directory_.size() / sizeof(float*);
  uint64_t count = std::clamp<uint64_t>(num_regions_ / 4, 1, kMaxChunkRegions);
  count = std::min(count, all_regions - num_regions_);
  auto memory = ZeroedMemory::Create(
      count * region_bytes, num_regions_ == 0 ? ZeroedMemory::Pages::kSmall
                                              : ZeroedMemory::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  float** const directory = static_cast<float**>(directory_.data());
  float* const floats = static_cast<float*>(memory->data());
  for (uint64_t i = 0; i < count; ++i) {
    directory[num_regions_ + i] = floats + i * region_bytes / sizeof(float);
  }
  chunks_.push_back(*std::move(memory));
  num_regions_ += count;
  return absl::OkStatus();
}

}  // namespace monolith
