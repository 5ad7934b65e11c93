#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pool.h"
#include "monolith/native_training/runtime/batch/pool_gradient.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/pool_attributes.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

using ConstBuffers = absl::InlinedVector<absl::Span<const float>, 16>;
using Buffers = absl::InlinedVector<absl::Span<float>, 16>;

absl::StatusOr<absl::Span<float>> AllocateOutput(OpKernelContext* context,
                                                 int output,
                                                 const TensorShape& shape) {
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, shape, &tensor));
  auto flat = tensor->flat<float>();
  return absl::MakeSpan(flat.data(), flat.size());
}

absl::Status ReadTableDims(OpKernelConstruction* context,
                           std::vector<int64_t>* table_dims) {
  TF_RETURN_IF_ERROR(context->GetAttr("table_dims", table_dims));
  for (size_t t = 0; t < table_dims->size(); ++t) {
    const int64_t dim = (*table_dims)[t];
    if (dim >= 1 && dim <= kMaxRowFloats) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "table_dims[", t, "] must be in 1 .. ", kMaxRowFloats, ", got ", dim));
  }
  return absl::OkStatus();
}

// How many values answer the request of shard `s`, which is the input `input`.
absl::StatusOr<int64_t> ValueSize(OpKernelContext* context, int s, int input,
                                  const std::vector<int64_t>& table_dims) {
  TF_ASSIGN_OR_RETURN(
      const absl::Span<const int64_t> numbers,
      Int64Vector(absl::StrCat("requests[", s, "]"), context->input(input)));
  TF_ASSIGN_OR_RETURN(
      const RequestView view,
      ParseRequest(numbers, static_cast<int>(table_dims.size())));
  return ValueBufferSize(view, table_dims);
}

class PoolOp : public tensorflow::OpKernel {
 public:
  explicit PoolOp(OpKernelConstruction* context) : OpKernel(context) {
    absl::StatusOr<PoolAttributes> attributes = PoolAttributes::Read(context);
    OP_REQUIRES_OK(context, attributes.status());
    num_shards_ = attributes->num_shards;
    for (int f = 0; f < attributes->num_features; ++f) {
      feature_names_.push_back(absl::StrCat("feature ", f));
    }
    absl::StatusOr<std::vector<PooledSlice>> slices =
        attributes->Slices(attributes->NumberedOutputs());
    OP_REQUIRES_OK(context, slices.status());
    slices_ = *std::move(slices);
    OP_REQUIRES_OK(context, context->GetAttr("num_requests", &num_requests_));
    if (num_requests_ == 0) return;
    OP_REQUIRES_OK(context, CheckSize("requests", num_requests_, num_shards_,
                                      "one per shard, or none"));
    OP_REQUIRES_OK(context, ReadTableDims(context, &table_dims_));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) {
    // Inputs: values of the shards, index, row splits of the features, requests
    // of the shards.
    ConstBuffers values(num_shards_);
    for (int s = 0; s < num_shards_; ++s) {
      TF_ASSIGN_OR_RETURN(
          values[s],
          FloatVector(absl::StrCat("values[", s, "]"), context->input(s)));
    }
    TF_ASSIGN_OR_RETURN(const FeatureRowsList features,
                        ReadFeatureRows(context, num_shards_, feature_names_));
    const int first_request = context->num_inputs() - num_requests_;
    for (int s = 0; s < num_requests_; ++s) {
      TF_ASSIGN_OR_RETURN(
          const int64_t wanted,
          ValueSize(context, s, first_request + s, table_dims_));
      TF_RETURN_IF_ERROR(CheckSize(absl::StrCat("values[", s, "]"),
                                   values[s].size(), wanted,
                                   "which answers its request"));
    }
    Buffers pooled(slices_.size());
    for (size_t o = 0; o < slices_.size(); ++o) {
      TF_ASSIGN_OR_RETURN(
          const TensorShape shape,
          PooledShape(slices_[o], features[slices_[o].feature]));
      TF_ASSIGN_OR_RETURN(pooled[o], AllocateOutput(context, o, shape));
    }
    WorkerExecutor executor(context);
    return Pool(slices_, features, values, executor, pooled);
  }

  int num_shards_ = 0;
  int num_requests_ = 0;
  std::vector<std::string> feature_names_;
  std::vector<int64_t> table_dims_;
  std::vector<PooledSlice> slices_;
};

class PoolGradOp : public tensorflow::OpKernel {
 public:
  explicit PoolGradOp(OpKernelConstruction* context) : OpKernel(context) {
    absl::StatusOr<PoolAttributes> attributes = PoolAttributes::Read(context);
    OP_REQUIRES_OK(context, attributes.status());
    num_shards_ = attributes->num_shards;
    OP_REQUIRES_OK(context, context->GetAttr("feature_names", &feature_names_));
    OP_REQUIRES_OK(context,
                   CheckSize("feature_names", feature_names_.size(),
                             attributes->num_features, "one per feature"));
    OP_REQUIRES_OK(context, ReadTableDims(context, &table_dims_));
    std::vector<std::string> names;
    OP_REQUIRES_OK(context, context->GetAttr("output_names", &names));
    absl::StatusOr<std::vector<PooledSlice>> slices = attributes->Slices(names);
    OP_REQUIRES_OK(context, slices.status());
    slices_ = *std::move(slices);
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) {
    // Inputs: gradients of the outputs, requests of the shards, index, row
    // splits of the features.
    const int num_outputs = static_cast<int>(slices_.size());
    TF_ASSIGN_OR_RETURN(
        const FeatureRowsList features,
        ReadFeatureRows(context, num_outputs + num_shards_, feature_names_));
    ConstBuffers gradients(num_outputs);
    for (int o = 0; o < num_outputs; ++o) {
      TF_ASSIGN_OR_RETURN(
          const TensorShape shape,
          PooledShape(slices_[o], features[slices_[o].feature]));
      const Tensor& gradient = context->input(o);
      TF_RETURN_IF_ERROR(CheckShape(
          absl::StrCat("gradient of ", slices_[o].name), gradient, shape));
      const auto flat = gradient.flat<float>();
      gradients[o] = absl::MakeConstSpan(flat.data(), flat.size());
    }
    Buffers value_gradients(num_shards_);
    for (int s = 0; s < num_shards_; ++s) {
      TF_ASSIGN_OR_RETURN(const int64_t size,
                          ValueSize(context, s, num_outputs + s, table_dims_));
      TF_ASSIGN_OR_RETURN(value_gradients[s],
                          AllocateOutput(context, s, TensorShape({size})));
    }
    WorkerExecutor executor(context);
    return PoolGradient(slices_, features, gradients, executor,
                        value_gradients);
  }

  int num_shards_ = 0;
  std::vector<std::string> feature_names_;
  std::vector<int64_t> table_dims_;
  std::vector<PooledSlice> slices_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithPool").Device(DEVICE_CPU), PoolOp);
REGISTER_KERNEL_BUILDER(Name("MonolithPoolGrad").Device(DEVICE_CPU),
                        PoolGradOp);

}  // namespace
}  // namespace monolith
