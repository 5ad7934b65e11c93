// The attributes and inputs that MonolithPool and MonolithPoolGrad share.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_POOL_ATTRIBUTES_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_POOL_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/errors.h"

namespace monolith {

struct PoolAttributes {
  int num_shards = 0;
  int num_features = 0;
  std::vector<int> feature_of_output;
  std::vector<int64_t> offset_of_output;
  std::vector<int64_t> dim_of_output;
  std::vector<std::string> combiner_of_output;
  std::vector<int64_t> length_of_output;
  int num_outputs = 0;

  // Context is OpKernelConstruction or InferenceContext.
  template <typename Context>
  static absl::StatusOr<PoolAttributes> Read(Context* context) {
    PoolAttributes attributes;
    TF_RETURN_IF_ERROR(context->GetAttr("num_shards", &attributes.num_shards));
    TF_RETURN_IF_ERROR(
        context->GetAttr("num_features", &attributes.num_features));
    TF_RETURN_IF_ERROR(
        context->GetAttr("num_outputs", &attributes.num_outputs));
    TF_RETURN_IF_ERROR(
        context->GetAttr("feature_of_output", &attributes.feature_of_output));
    TF_RETURN_IF_ERROR(
        context->GetAttr("offset_of_output", &attributes.offset_of_output));
    TF_RETURN_IF_ERROR(
        context->GetAttr("dim_of_output", &attributes.dim_of_output));
    TF_RETURN_IF_ERROR(
        context->GetAttr("combiner_of_output", &attributes.combiner_of_output));
    TF_RETURN_IF_ERROR(
        context->GetAttr("length_of_output", &attributes.length_of_output));
    return attributes;
  }

  // One slice per output, called `names[o]`. InvalidArgument if a list has
  // another length or a slice is impossible.
  absl::StatusOr<std::vector<PooledSlice>> Slices(
      const std::vector<std::string>& names) const;

  // Names for an op that is not told any: "0", "1", ...
  std::vector<std::string> NumberedOutputs() const;
};

using FeatureRowsList = absl::InlinedVector<FeatureRows, 16>;

// Reads input `index_input` and the row splits of `feature_names.size()`
// features, the inputs after it.
absl::StatusOr<FeatureRowsList> ReadFeatureRows(
    tensorflow::OpKernelContext* context, int index_input,
    const std::vector<std::string>& feature_names);

absl::StatusOr<tensorflow::TensorShape> PooledShape(const PooledSlice& slice,
                                                    const FeatureRows& rows);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_POOL_ATTRIBUTES_H_
