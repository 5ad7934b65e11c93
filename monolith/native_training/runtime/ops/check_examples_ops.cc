#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithCheckExamples")
    .Input("serialized: string")
    .Input("columns: num_columns * int64")
    .Attr("num_columns: int >= 0")
    .Attr("names: list(string) >= 1")
    .Attr("types: list({int64, float, string}) >= 1")
    .Attr("lengths: list(int) >= 1")
    .Attr("required: list(bool) >= 1")
    .Attr("report_every_ms: int >= 0 = 0")
    .Output("good: string")
    .Output("good_columns: num_columns * int64")
    .Output("bad: int64")
    .Output("reasons: string")
    .Output("num_seen: int64")
    .SetIsStateful()  // It counts.
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle messages;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &messages));
      for (int i = 1; i < c->num_inputs(); ++i) {
        TF_RETURN_IF_ERROR(c->Merge(messages, c->input(i), &messages));
        c->set_output(i, c->Vector(InferenceContext::kUnknownDim));
      }
      c->set_output(0, c->Vector(InferenceContext::kUnknownDim));
      const ShapeHandle bad = c->Vector(InferenceContext::kUnknownDim);
      c->set_output(c->num_outputs() - 3, bad);
      c->set_output(c->num_outputs() - 2, bad);
      c->set_output(c->num_outputs() - 1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Leaves out serialized examples that `tf.io.parse_example` would not parse.

A batch that fails there tells neither which example is bad nor lets the others
through, and some bytes end the process. While all are good, nothing is copied.

For example, with a label of one float that is wanted, which only the second has:

    monolith_check_examples(
        [b'garbage', example, b''], columns=[[7, 8, 9]], names=['label'],
        types=[tf.float32], lengths=[1], required=[True])
    # good: [example]; good_columns: [[8]]; bad: [0, 2]; num_seen: 3
    # reasons: [b'not a tf.train.Example', b"feature 'label' is missing"]

serialized: [n]. What should be tf.train.Examples.
columns: [n] each. What goes with them.
names: Per feature, its key in the examples.
types: Per feature, the type of its values.
lengths: Per feature, how many values it must have; -1 for any number.
required: Per feature, whether an example without it is bad; only with a length.
report_every_ms: How often messages are counted while all are good, in
  milliseconds; 0 counts every batch.
good: [g]. The examples that parse, in their order.
good_columns: [g] each. What goes with those.
bad: [n - g]. The indexes of the others, rising.
reasons: [n - g]. Why they do not parse.
num_seen: [] How many examples there were, these included, since this was last
  above 0; 0 while all are good and `report_every_ms` are not over.
)doc");

}  // namespace
}  // namespace monolith
