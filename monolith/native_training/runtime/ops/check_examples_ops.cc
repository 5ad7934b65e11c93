#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithCheckExamples")
    .Input("serialized: string")
    .Attr("names: list(string) >= 1")
    .Attr("types: list({int64, float, string}) >= 1")
    .Attr("lengths: list(int) >= 1")
    .Attr("required: list(bool) >= 1")
    .Attr("report_every_ms: int >= 0 = 0")
    .Output("is_good: bool")
    .Output("reasons: string")
    .Output("all_good: bool")
    .Output("num_seen: int64")
    .SetIsStateful()  // It counts.
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle serialized;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &serialized));
      c->set_output(0, serialized);
      c->set_output(1, serialized);
      c->set_output(2, c->Scalar());
      c->set_output(3, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Tells which serialized examples `tf.io.parse_example` would parse.

A batch that fails there tells neither which example is bad nor lets the others
through, and some bytes end the process.

For example, with a label of one float that is wanted:

    monolith_check_examples(
        [b'garbage', b''], names=['label'], types=[tf.float32], lengths=[1],
        required=[True])
    # is_good: [False, False]; all_good: False; num_seen: 2
    # reasons: [b'not a tf.train.Example', b"feature 'label' is missing"]

serialized: [n]. What should be tf.train.Examples.
names: Per feature, its key in the examples.
types: Per feature, the type of its values.
lengths: Per feature, how many values it must have; -1 for any number.
required: Per feature, whether an example without it is bad; only with a length.
report_every_ms: How often messages are counted while all are good, in
  milliseconds; 0 counts every batch.
is_good: [n]. Whether the example parses.
reasons: [n]. Why it does not; empty where it does.
all_good: [] Whether all of them parse.
num_seen: [] How many examples there were, these included, since this was last
  above 0; 0 while all are good and `report_every_ms` are not over.
)doc");

}  // namespace
}  // namespace monolith
