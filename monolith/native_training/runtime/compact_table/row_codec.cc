#include "monolith/native_training/runtime/compact_table/row_codec.h"

#include <utility>

#include "monolith/native_training/runtime/hash_table/compressor/compressor_factory.h"

namespace monolith {

absl::StatusOr<RowCodec> RowCodec::Create(const TableConfig& config) {
  absl::Status valid = ValidateTableConfig(config);
  if (!valid.ok()) return valid;
  RowCodec codec;
  for (const SegmentConfig& segment : config.segments) {
    absl::StatusOr<std::unique_ptr<Compressor>> compressor =
        CreateCompressor(segment.compressor);
    if (!compressor.ok()) return compressor.status();
    const size_t bytes = (*compressor)->EncodedBytes(segment.dim);
    codec.segments_.push_back(
        {static_cast<size_t>(segment.dim), bytes, *std::move(compressor)});
    codec.dim_ += segment.dim;
    codec.row_bytes_ += bytes;
  }
  return codec;
}

}  // namespace monolith
