#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithCutBytes")
    .Input("bytes: uint8")
    .Input("begin: int64")
    .Input("end: int64")
    .Output("strings: string")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle bytes, begin, end;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &bytes));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &begin));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &end));
      TF_RETURN_IF_ERROR(c->Merge(begin, end, &begin));
      c->set_output(0, begin);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Copies ranges of bytes into strings.

For example:

    monolith_cut_bytes([104, 105, 33], begin=[0, 2, 3], end=[2, 3, 3])
    # ['hi', '!', '']

bytes: [b].
begin: [n], where in `bytes` each string begins.
end: [n], where it ends: `0 <= begin[i] <= end[i] <= b`.
strings: [n].
)doc");

}  // namespace
}  // namespace monolith
