#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithUpdate")
    .Input("handle: resource")
    .Input("request: int64")
    .Input("gradients: float")
    .Input("learning_rates: float")
    .Input("update_time: int64")
    .Input("global_step: int64")
    .Attr("ids_are_unique: bool = false")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      const int ranks[] = {0, 1, 1, 1, 0, 0};
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), ranks[i], &unused));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Trains the rows of a request: one optimizer step per id, in place.

An id without a row gets one, starting at its initial value; in a table with an
occurrence threshold it does so once it has occurred that often, and is passed
over until then. Gradients of an id that a table's part repeats are summed, then
applied once. Either all inputs are
good, or no row of any table changes; a NaN or infinite gradient is rejected by
naming the table and the id.

For example, SGD at 0.1 on one table of dim 2:

    monolith_update(handle, request=[1, 7], gradients=[1., 2.],
                    learning_rates=[.1], update_time=now, global_step=0)

handle: scalar. From MonolithTableSet.
request: [num_tables + num_ids + occurrences]. The one the rows were looked up
  with. Where it has no occurrences, each of its ids counts as one.
gradients: [sum over tables of ids * dim]. In the order of the values that
  MonolithLookup gave for the request.
learning_rates: [number of segments of all tables], table by table; or [0]:
  the rates in the tables' configuration.
update_time: scalar. Now, in seconds since the epoch: rows expire by it.
global_step: scalar. Of this update, from 0.
ids_are_unique: the request repeats no id of a table, as those of MonolithShardIds
  do not. Spares the summing; gradients of an id that is repeated even so are
  applied one after the other.
)doc");

}  // namespace
}  // namespace monolith
