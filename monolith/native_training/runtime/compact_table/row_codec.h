// How the rows of a compact table are stored: the codes of each segment, one
// after the other, as its compressor makes them.
//
// Thread safety: immutable.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_CODEC_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

class RowCodec {
 public:
  // InvalidArgument if the config is not valid, or a compressor is not there.
  static absl::StatusOr<RowCodec> Create(const TableConfig& config);

  int dim() const { return dim_; }                 // floats of a row
  size_t row_bytes() const { return row_bytes_; }  // at least 1

  // REQUIRES: dim() floats, row_bytes() bytes.
  void Encode(const float* values, uint8_t* bytes) const {
    for (const Segment& segment : segments_) {
      segment.compressor->Encode(absl::MakeConstSpan(values, segment.dim),
                                 absl::MakeSpan(bytes, segment.bytes));
      values += segment.dim;
      bytes += segment.bytes;
    }
  }
  void Decode(const uint8_t* bytes, float* values) const {
    for (const Segment& segment : segments_) {
      segment.compressor->Decode(absl::MakeConstSpan(bytes, segment.bytes),
                                 absl::MakeSpan(values, segment.dim));
      values += segment.dim;
      bytes += segment.bytes;
    }
  }

 private:
  struct Segment {
    size_t dim;
    size_t bytes;
    std::unique_ptr<Compressor> compressor;
  };

  RowCodec() = default;

  std::vector<Segment> segments_;
  int dim_ = 0;
  size_t row_bytes_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_ROW_CODEC_H_
