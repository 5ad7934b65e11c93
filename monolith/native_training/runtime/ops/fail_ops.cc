#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithFail")
    .Input("message: string")
    .SetIsStateful()  // It is not dropped for having no output.
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle scalar;
      return c->WithRank(c->input(0), 0, &scalar);
    })
    .Doc(R"doc(
Fails with a message of its own, unless that is empty.

So that an error found in Python, inside a dataset, is one sentence without
Python's traceback.

For example:

    monolith_fail('')  # nothing happens
    monolith_fail('too many bad messages')  # InvalidArgumentError

message: [] The error's message.
)doc");

}  // namespace
}  // namespace monolith
