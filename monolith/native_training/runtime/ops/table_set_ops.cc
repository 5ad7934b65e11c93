#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithTableSet")
    .Attr("config: string")
    .Attr("container: string = ''")
    .Attr("shared_name: string = ''")
    .Output("handle: resource")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::ScalarShape)
    .Doc(R"doc(
Makes a set of embedding tables, or finds the one that is there.

The tables of one server form one set, so that a step costs one lookup and one
update however many features there are. They are made, empty, when the op first
runs, and live until the container is cleared or the handle is passed to
`DestroyResourceOp`.

For example:

    handle = monolith_table_set(shared_name='ps0', config='''
        {"tables": [{"name": "mov", "segments": [{"name": "vec", "dim": 32}]}]}''')

config: The tables as JSON; runtime/hash_table/table_config.h describes it.
  If a set of that name exists with another configuration, the op fails and
  says in what they differ.
container: Where the set is kept; empty: the default container.
shared_name: Name of the set; empty: private to this op.
handle: scalar. Stands for the set in other ops on the same device.
)doc");

REGISTER_OP("MonolithTableStats")
    .Input("handle: resource")
    .Output("sizes: int64")
    .Output("memory_bytes: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      const ShapeHandle per_table = c->Vector(c->UnknownDim());
      c->set_output(0, per_table);
      c->set_output(1, per_table);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Counts rows and memory of each table.

handle: scalar. From MonolithTableSet.
sizes: [num_tables]. Number of rows; exact when nothing is being written.
memory_bytes: [num_tables]. Bytes held for rows and index, free rows included.
)doc");

REGISTER_OP("MonolithTableClear")
    .Input("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      return c->WithRank(c->input(0), 0, &unused);
    })
    .Doc(R"doc(
Removes all rows of all tables and returns their memory.

handle: scalar. From MonolithTableSet.
)doc");

}  // namespace
}  // namespace monolith
