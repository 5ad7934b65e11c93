#include <string>
#include <vector>

#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/ops/pool_attributes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

absl::Status VectorInputs(InferenceContext* c, int begin, int end) {
  for (int i = begin; i < end; ++i) {
    ShapeHandle unused;
    TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 1, &unused));
  }
  return absl::OkStatus();
}

absl::Status PoolShape(InferenceContext* c) {
  TF_ASSIGN_OR_RETURN(const PoolAttributes attributes, PoolAttributes::Read(c));
  TF_RETURN_IF_ERROR(VectorInputs(c, 0, c->num_inputs()));
  TF_ASSIGN_OR_RETURN(const std::vector<PooledSlice> slices,
                      attributes.Slices(attributes.NumberedOutputs()));
  for (int o = 0; o < attributes.num_outputs; ++o) {
    const PooledSlice& slice = slices[o];
    const ShapeHandle splits =
        c->input(attributes.num_shards + 1 + slice.feature);
    DimensionHandle batch;
    TF_RETURN_IF_ERROR(c->Subtract(c->Dim(splits, 0), 1, &batch));
    if (slice.combiner == Combiner::kFirstN) {
      c->set_output(o, c->MakeShape({batch, c->MakeDim(slice.length),
                                     c->MakeDim(slice.dim)}));
    } else {
      const bool reduced = slice.combiner != Combiner::kNone;
      c->set_output(o, c->Matrix(reduced ? batch : c->UnknownDim(), slice.dim));
    }
  }
  return absl::OkStatus();
}

absl::Status PoolGradShape(InferenceContext* c) {
  TF_ASSIGN_OR_RETURN(const PoolAttributes attributes, PoolAttributes::Read(c));
  TF_RETURN_IF_ERROR(VectorInputs(c, attributes.num_outputs, c->num_inputs()));
  for (int s = 0; s < attributes.num_shards; ++s) {
    c->set_output(s, c->Vector(c->UnknownDim()));
  }
  return absl::OkStatus();
}

REGISTER_OP("MonolithPool")
    .Input("values: num_shards * float")
    .Input("index: int64")
    .Input("row_splits: num_features * int64")
    .Input("requests: num_requests * int64")
    .Attr("num_shards: int >= 1")
    .Attr("num_features: int >= 1")
    .Attr("num_outputs: int >= 1")
    .Attr("feature_of_output: list(int)")
    .Attr("offset_of_output: list(int)")
    .Attr("dim_of_output: list(int)")
    .Attr("combiner_of_output: list(string)")
    .Attr("length_of_output: list(int)")
    // Models that were exported before have neither.
    .Attr("num_requests: int >= 0 = 0")
    .Attr("table_dims: list(int) = []")
    .Output("pooled: num_outputs * float")
    .SetShapeFn(PoolShape)
    .Doc(R"doc(
Lays the rows that the servers sent out as pooled slices, one output per slice.

For example, one feature with rows of dim 2, summed whole:

    monolith_pool(values=[[1., 2., 10., 20.]], index=[0, 2, 0],
                  row_splits=[[0, 2, 2, 3]], requests=[], num_outputs=1,
                  feature_of_output=[0], offset_of_output=[0],
                  dim_of_output=[2], combiner_of_output=['sum'],
                  length_of_output=[0])
    # [[[11., 22.], [0., 0.], [1., 2.]]]

values: Per server, what MonolithLookup gave for its request, a vector.
index: [num_ids of all features]. From MonolithShardIds.
row_splits: Per feature [batch_size + 1]. As given to MonolithShardIds.
requests: Per server, its request: its values must be as many as that wants. Or
  none, and values may go on behind what `index` names.
num_outputs: Number of slices.
feature_of_output: Per output, the position of its feature in `row_splits`.
offset_of_output: Per output, the first float of the slice inside a row.
dim_of_output: Per output, the floats of the slice.
combiner_of_output: Per output 'sum', 'mean', 'first_n' or 'none'.
length_of_output: Per output, how many ids first_n keeps; 0 for others.
table_dims: With requests, per table the floats of a row.
pooled: Per output: sum and mean [batch_size, dim], first_n [batch_size, length,
  dim], none [num_ids, dim]. Zeros where an example has no id.
)doc");

REGISTER_OP("MonolithPoolGrad")
    .Input("gradients: num_outputs * float")
    .Input("requests: num_shards * int64")
    .Input("index: int64")
    .Input("row_splits: num_features * int64")
    .Attr("num_shards: int >= 1")
    .Attr("num_features: int >= 1")
    .Attr("num_outputs: int >= 1")
    .Attr("feature_of_output: list(int)")
    .Attr("offset_of_output: list(int)")
    .Attr("dim_of_output: list(int)")
    .Attr("combiner_of_output: list(string)")
    .Attr("length_of_output: list(int)")
    .Attr("table_dims: list(int)")
    .Attr("feature_names: list(string)")
    .Attr("output_names: list(string)")
    .Output("value_gradients: num_shards * float")
    .SetShapeFn(PoolGradShape)
    .Doc(R"doc(
The gradient of MonolithPool with respect to its `values`.

A row that several ids of the batch share receives the sum of their gradients. A
NaN or infinite gradient is rejected by naming the output and the example;
gradients of padding and of examples without ids reach no row and are ignored.

gradients: Per output, shaped like it.
requests: Per server, its request: tells how large its values were.
index: [num_ids of all features]. From MonolithShardIds.
row_splits: Per feature [batch_size + 1]. As given to MonolithShardIds.
feature_of_output: Per output, the position of its feature in `row_splits`.
offset_of_output: Per output, the first float of the slice inside a row.
dim_of_output: Per output, the floats of the slice.
combiner_of_output: Per output 'sum', 'mean', 'first_n' or 'none'.
length_of_output: Per output, how many ids first_n keeps; 0 for others.
table_dims: Per table, the floats of a row.
feature_names: Per feature, what messages call it.
output_names: Per output, what messages call it.
value_gradients: Per server, a vector laid out like its values.
)doc");

}  // namespace
}  // namespace monolith
