#include "monolith/native_training/runtime/ops/pool_attributes.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/batch/row_splits.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {

absl::StatusOr<std::vector<PooledSlice>> PoolAttributes::Slices(
    const std::vector<std::string>& names) const {
  if (num_shards > kMaxShards) {
    return absl::InvalidArgumentError(absl::StrCat(
        "num_shards must be in 1 .. ", kMaxShards, ", got ", num_shards));
  }
  const std::pair<const char*, size_t> lists[] = {
      {"feature_of_output", feature_of_output.size()},
      {"offset_of_output", offset_of_output.size()},
      {"dim_of_output", dim_of_output.size()},
      {"combiner_of_output", combiner_of_output.size()},
      {"length_of_output", length_of_output.size()},
      {"output_names", names.size()}};
  for (const auto& [name, size] : lists) {
    TF_RETURN_IF_ERROR(CheckSize(name, size, num_outputs, "one per output"));
  }
  std::vector<PooledSlice> slices;
  for (int o = 0; o < num_outputs; ++o) {
    PooledSlice slice;
    slice.name = names[o];
    slice.feature = feature_of_output[o];
    slice.offset = offset_of_output[o];
    slice.dim = dim_of_output[o];
    TF_ASSIGN_OR_RETURN(slice.combiner, ParseCombiner(combiner_of_output[o]));
    slice.length = length_of_output[o];
    TF_RETURN_IF_ERROR(CheckPooledSlice(slice, num_features));
    slices.push_back(std::move(slice));
  }
  return slices;
}

std::vector<std::string> PoolAttributes::NumberedOutputs() const {
  std::vector<std::string> names;
  for (int o = 0; o < num_outputs; ++o) names.push_back(absl::StrCat(o));
  return names;
}

absl::StatusOr<FeatureRowsList> ReadFeatureRows(
    tensorflow::OpKernelContext* context, int index_input,
    const std::vector<std::string>& feature_names) {
  TF_ASSIGN_OR_RETURN(const absl::Span<const int64_t> index,
                      Int64Vector("index", context->input(index_input)));
  FeatureRowsList features;
  int64_t begin = 0;
  for (size_t f = 0; f < feature_names.size(); ++f) {
    const std::string name = absl::StrCat("row_splits of ", feature_names[f]);
    TF_ASSIGN_OR_RETURN(const absl::Span<const int64_t> splits,
                        Int64Vector(name, context->input(index_input + 1 + f)));
    const int64_t left = static_cast<int64_t>(index.size()) - begin;
    const int64_t num_ids = splits.empty() ? 0 : splits.back();
    if (num_ids > left) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " ends at ", num_ids, ", but index has ", left,
                       " entries left for it and the features after it"));
    }
    TF_RETURN_IF_ERROR(CheckRowSplits(name, splits, num_ids));
    features.push_back({index.subspan(begin, num_ids), splits});
    begin += num_ids;
  }
  TF_RETURN_IF_ERROR(CheckSize("index", index.size(), begin,
                               "the sum of where the row_splits end"));
  return features;
}

absl::StatusOr<tensorflow::TensorShape> PooledShape(const PooledSlice& slice,
                                                    const FeatureRows& rows) {
  // Also makes sure that the shape does not overflow.
  TF_RETURN_IF_ERROR(PooledFloats(slice, rows).status());
  switch (slice.combiner) {
    case Combiner::kSum:
    case Combiner::kMean:
      return tensorflow::TensorShape({rows.batch_size(), slice.dim});
    case Combiner::kFirstN:
      return tensorflow::TensorShape(
          {rows.batch_size(), slice.length, slice.dim});
    case Combiner::kNone:
      return tensorflow::TensorShape(
          {static_cast<int64_t>(rows.index.size()), slice.dim});
  }
  return absl::InternalError("unknown combiner");
}

}  // namespace monolith
