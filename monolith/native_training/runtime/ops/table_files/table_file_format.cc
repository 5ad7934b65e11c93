#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/ops/table_files/record_layout.h"

namespace monolith {

int TableFileHeader::Table::dim() const {
  int dim = 0;
  for (const SegmentConfig& segment : config.segments) dim += segment.dim;
  return dim;
}

int TableFileHeader::Table::state_dim() const {
  return std::accumulate(state_dims.begin(), state_dims.end(), 0);
}

TableRecordKind KindOfRecord(absl::string_view record) {
  if (absl::StartsWith(record, kHeaderTag)) return TableRecordKind::kHeader;
  if (absl::StartsWith(record, kBlockTag)) return TableRecordKind::kBlock;
  if (absl::StartsWith(record, kErasedTag)) return TableRecordKind::kErased;
  if (absl::StartsWith(record, kTrialsTag)) return TableRecordKind::kTrials;
  if (absl::StartsWith(record, kAgedTag)) return TableRecordKind::kAged;
  if (absl::StartsWith(record, kFooterTag)) return TableRecordKind::kFooter;
  return TableRecordKind::kUnknown;
}

}  // namespace monolith
