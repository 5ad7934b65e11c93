#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithLookup")
    .Input("handle: resource")
    .Input("request: int64")
    .Attr("missing: {'initial', 'zero'} = 'initial'")
    .Output("values: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &unused));
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads the rows a request asks for, of all tables at once. Never adds a row.

For example, of a set with tables of dim 4 and 8:

    values = monolith_lookup(handle, [2, 1,  7, 9,  5])
    # [16]: rows of ids 7 and 9 of the first table, of id 5 of the second

handle: scalar. From MonolithTableSet.
request: [num_tables + num_ids]. From MonolithShardIds: the number of ids of
  each table, then the ids, table by table.
missing: What an id without a row reads: its 'initial' value, as in training,
  or 'zero', as in evaluation and serving.
values: [sum over tables of ids * dim]. The rows in the order of the ids.
)doc");

}  // namespace
}  // namespace monolith
