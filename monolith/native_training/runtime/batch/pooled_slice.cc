#include "monolith/native_training/runtime/batch/pooled_slice.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {

absl::StatusOr<Combiner> ParseCombiner(absl::string_view name) {
  if (name == "sum") return Combiner::kSum;
  if (name == "mean") return Combiner::kMean;
  if (name == "first_n") return Combiner::kFirstN;
  if (name == "none") return Combiner::kNone;
  return absl::InvalidArgumentError(absl::StrCat(
      "combiner must be one of sum, mean, first_n and none, got '", name, "'"));
}

absl::Status CheckPooledSlice(const PooledSlice& slice, int num_features) {
  if (slice.feature < 0 || slice.feature >= num_features) {
    return absl::InvalidArgumentError(
        absl::StrCat("output ", slice.name, ": feature must be in 0 .. ",
                     num_features - 1, ", got ", slice.feature));
  }
  if (slice.dim < 1 || slice.dim > kMaxRowFloats) {
    return absl::InvalidArgumentError(
        absl::StrCat("output ", slice.name, ": dim must be in 1 .. ",
                     kMaxRowFloats, ", got ", slice.dim));
  }
  if (slice.offset < 0 || slice.offset > kMaxRowFloats) {
    return absl::InvalidArgumentError(
        absl::StrCat("output ", slice.name, ": offset must be in 0 .. ",
                     kMaxRowFloats, ", got ", slice.offset));
  }
  if (slice.combiner == Combiner::kFirstN &&
      (slice.length < 1 || slice.length > kMaxRowFloats)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "output ", slice.name, ": length of first_n must be in 1 .. ",
        kMaxRowFloats, ", got ", slice.length));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> PooledFloats(const PooledSlice& slice,
                                     const FeatureRows& rows) {
  int64_t floats = slice.combiner == Combiner::kNone
                       ? static_cast<int64_t>(rows.index.size())
                       : rows.batch_size();
  const int64_t length = slice.combiner == Combiner::kFirstN ? slice.length : 1;
  if (__builtin_mul_overflow(floats, length, &floats) ||
      __builtin_mul_overflow(floats, slice.dim, &floats) ||
      floats > kMaxBufferFloats) {
    return absl::InvalidArgumentError(absl::StrCat(
        "output ", slice.name, " is too large: ", rows.batch_size(),
        " examples, ", rows.index.size(), " ids, length ", length, ", dim ",
        slice.dim));
  }
  return floats;
}

}  // namespace monolith
