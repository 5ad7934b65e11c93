#include "monolith/native_training/runtime/compact_table/row_spill.h"

#include <algorithm>
#include <utility>

namespace monolith {

absl::Status RowSpill::Append(size_t partition,
                              absl::Span<const uint8_t> entry) {
  std::vector<uint8_t>& tail = partitions_[partition].tail;
  tail.insert(tail.end(), entry.begin(), entry.end());
  tail_bytes_ += entry.size();
  return tail_bytes_ < memory_bytes_ ? absl::OkStatus() : WriteTails();
}

absl::Status RowSpill::WriteTails() {
  for (Partition& partition : partitions_) {
    if (partition.tail.empty()) continue;
    absl::Status written = scratch_->Append(partition.tail);
    if (!written.ok()) return written;
    partition.pieces.push_back({scratch_bytes_, partition.tail.size()});
    scratch_bytes_ += partition.tail.size();
    // What comes next may be of other partitions, which need the memory; `= {}`
    // would keep it.
    partition.tail = std::vector<uint8_t>();
  }
  tail_bytes_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> RowSpill::Take(size_t partition) {
  Partition taken = std::exchange(partitions_[partition], {});
  tail_bytes_ -= taken.tail.size();
  if (taken.pieces.empty()) return std::move(taken.tail);
  size_t size = taken.tail.size();
  for (const Piece& piece : taken.pieces) size += piece.bytes;
  std::vector<uint8_t> entries(size);
  absl::Span<uint8_t> rest = absl::MakeSpan(entries);
  for (const Piece& piece : taken.pieces) {
    absl::Status read =
        scratch_->Read(piece.offset, rest.subspan(0, piece.bytes));
    if (!read.ok()) return read;
    rest.remove_prefix(piece.bytes);
  }
  std::copy(taken.tail.begin(), taken.tail.end(), rest.begin());
  return entries;
}

}  // namespace monolith
