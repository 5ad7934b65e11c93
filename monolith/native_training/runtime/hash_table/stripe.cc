#include "monolith/native_training/runtime/hash_table/stripe.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/statusor.h"

namespace monolith {
namespace {

// Blocks double up to the larger size, so that a table of few rows takes little
// memory and one of many seldom asks the arena.
constexpr uint32_t kFirstBlockRows = 4;
constexpr uint32_t kLargestBlockRows = 64;

// Where more ids than these, and than half of those that are left, have been
// erased, a save of what has changed would be no smaller than one of all.
constexpr int64_t kErasedKept = 1024;

}  // namespace

absl::Status Stripe::Insert(int64_t id, uint64_t hash, RowArena& arena,
                            Slot* slot) {
  absl::Status status = index_.ReserveOne();
  if (!status.ok()) return status;
  status = TakeRow(arena, &slot->row);
  if (!status.ok()) return status;
  slot->inserted = true;
  index_.Insert(id, hash, slot->row);
  PublishSize();
  return absl::OkStatus();
}

bool Stripe::Erase(int64_t id, uint64_t hash, RowArena& arena) {
  const uint32_t row = index_.Erase(id, hash);
  if (row == RowArena::kNoRow) return false;
  std::memcpy(arena.Row(row), &first_free_, sizeof(first_free_));
  first_free_ = row;
  if (keeps_erased_) KeepErased(id);
  PublishSize();
  return true;
}

void Stripe::KeepErased(int64_t id) {
  const auto kept = static_cast<int64_t>(erased_.size());
  if (kept < std::max(kErasedKept, index_.size() / 2)) {
    erased_.push_back(id);
  } else {
    keeps_erased_ = false;
    erased_ = std::vector<int64_t>();  // {} would keep the memory.
    knows_erased_.store(false, std::memory_order_relaxed);
  }
  PublishErased();
}

std::vector<int64_t> Stripe::TakeErased() {
  keeps_erased_ = true;
  knows_erased_.store(true, std::memory_order_relaxed);
  std::vector<int64_t> erased = std::exchange(erased_, {});
  PublishErased();
  return erased;
}

void Stripe::Clear() {
  index_.Clear();
  first_free_ = RowArena::kNoRow;
  block_ = {0, 0};
  next_block_rows_ = 0;
  keeps_erased_ = false;
  erased_ = std::vector<int64_t>();  // {} would keep the memory.
  knows_erased_.store(true, std::memory_order_relaxed);
  PublishErased();
  PublishSize();
}

absl::Status Stripe::TakeRow(RowArena& arena, uint32_t* row) {
  if (first_free_ != RowArena::kNoRow) {
    *row = first_free_;
    std::memcpy(&first_free_, arena.Row(*row), sizeof(first_free_));
    return absl::OkStatus();
  }
  if (block_.count == 0) {
    next_block_rows_ =
        std::clamp(2 * next_block_rows_, kFirstBlockRows, kLargestBlockRows);
    absl::StatusOr<RowArena::Block> block =
        arena.AllocateBlock(next_block_rows_);
    if (!block.ok()) return block.status();
    block_ = *block;
  }
  *row = block_.first++;
  --block_.count;
  return absl::OkStatus();
}

void Stripe::PublishErased() {
  erased_bytes_.store(
      static_cast<int64_t>(erased_.capacity() * sizeof(int64_t)),
      std::memory_order_relaxed);
}

void Stripe::PublishSize() {
  size_.store(index_.size(), std::memory_order_relaxed);
}

}  // namespace monolith
