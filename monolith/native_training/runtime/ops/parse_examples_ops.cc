#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace monolith {
namespace {

using ::tensorflow::PartialTensorShape;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

absl::Status ParsedShapes(InferenceContext* c) {
  ShapeHandle messages;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &messages));
  int num_columns;
  TF_RETURN_IF_ERROR(c->GetAttr("num_columns", &num_columns));
  for (int i = 1; i <= num_columns; ++i) {
    TF_RETURN_IF_ERROR(c->Merge(messages, c->input(i), &messages));
  }
  // Vectors whose sizes only running tells, but for the last and the dense
  // ones.
  for (int i = 0; i < c->num_outputs(); ++i) {
    c->set_output(i, c->Vector(InferenceContext::kUnknownDim));
  }
  c->set_output(c->num_outputs() - 1, c->Scalar());
  std::vector<PartialTensorShape> dense_shapes;
  TF_RETURN_IF_ERROR(c->GetAttr("dense_shapes", &dense_shapes));
  std::vector<ShapeHandle> dense;
  for (const PartialTensorShape& shape : dense_shapes) {
    if (!shape.IsFullyDefined()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "dense_shapes must be known, got ", shape.DebugString()));
    }
    ShapeHandle values;
    TF_RETURN_IF_ERROR(c->MakeShapeFromPartialTensorShape(shape, &values));
    TF_RETURN_IF_ERROR(c->Concatenate(c->Vector(InferenceContext::kUnknownDim),
                                      values, &values));
    dense.push_back(values);
  }
  return c->set_output("dense_values", dense);
}

REGISTER_OP("MonolithParseExamples")
    .Input("serialized: string")
    .Input("columns: num_columns * int64")
    .Input("defaults: dense_types")
    .Attr("num_columns: int >= 0")
    .Attr("ragged_names: list(string)")
    .Attr("ragged_types: list({int64, float, string}) >= 0")
    .Attr("splits_types: list({int32, int64}) >= 0")
    .Attr("dense_names: list(string)")
    .Attr("dense_types: list({int64, float, string}) >= 0")
    .Attr("dense_shapes: list(shape)")
    .Attr("report_every_ms: int >= 0 = 0")
    .Attr("tally: int >= 0 = 0")
    .Output("ragged_values: ragged_types")
    .Output("ragged_splits: splits_types")
    .Output("dense_values: dense_types")
    .Output("good_columns: num_columns * int64")
    .Output("bad: int64")
    .Output("reasons: string")
    .Output("num_seen: int64")
    .SetIsStateful()  // It counts.
    .SetShapeFn(ParsedShapes)
    .Doc(R"doc(
Parses serialized examples, and leaves out those that cannot be parsed.

An example gives the values that `tf.io.parse_example` gives, and is bad where that
op does not parse it. There a bad one fails the whole batch, without telling which one
it is, and some bytes end the process.

For example, with a label of one float that is wanted, which only the second has:

    monolith_parse_examples(
        [b'garbage', example, b''], columns=[[7, 8, 9]], defaults=[[]],
        ragged_names=['mov'], ragged_types=[tf.int64], splits_types=[tf.int64],
        dense_names=['label'], dense_types=[tf.float32], dense_shapes=[[1]])
    # ragged_values: [[296, 318]]; ragged_splits: [[0, 2]]; dense_values: [[4.5]]
    # good_columns: [[8]]; bad: [0, 2]; num_seen: 3
    # reasons: [b'not a tf.train.Example', b"feature 'label' is missing"]

serialized: [n]. What should be tf.train.Examples.
columns: [n] each. What goes with them.
defaults: Per dense feature, the values of an example without it, of the feature's
  shape; [0] if such an example is bad.
ragged_names: Per feature of any number of values, its key in the examples.
ragged_types: Per feature, the type of its values.
splits_types: Per feature, the type of its row splits.
dense_names: Per feature of a fixed number of values, its key in the examples.
dense_types: Per feature, the type of its values.
dense_shapes: Per feature, the shape of an example's values.
report_every_ms: How often messages are counted while all are good, in
  milliseconds; 0 counts every batch.
tally: Which count of the process messages are added to while they are not reported:
  ops of the same number share one, also those that come when others have gone; 0 is
  one of the op's own.
ragged_values: Per feature, [number of values]. Those of the examples that parse, in
  their order.
ragged_splits: Per feature, [g + 1]. Where the values of each of these begin, and
  where the last one's end.
dense_values: Per feature, [g, its shape].
good_columns: [g] each. What goes with those examples.
bad: [n - g]. The indexes of the others, rising.
reasons: [n - g]. Why they do not parse.
num_seen: [] How many examples there were in the tally, these included, since this
  was last above 0; 0 while all are good and this op has reported less than
  `report_every_ms` ago.
)doc");

}  // namespace
}  // namespace monolith
