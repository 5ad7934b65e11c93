#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithSaveTables")
    .Input("handle: resource")
    .Input("file: string")
    .Input("shard_index: int64")
    .Input("num_shards: int64")
    .Output("rows: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 0, &unused));
      }
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Writes all tables to one file, on any filesystem that TensorFlow can write to.

The file appears under its name once it is whole. Training goes on meanwhile;
weights, optimizer state and time of a row are from one moment, and so is how
often an id without a row has occurred.

handle: scalar. From MonolithTableSet.
file: scalar. Its folder is made if needed.
shard_index: scalar. Which server this is, from 0.
num_shards: scalar. How many servers there are.
rows: scalar. How many rows were written.
)doc");

REGISTER_OP("MonolithRestoreTables")
    .Input("handle: resource")
    .Input("files: string")
    .Input("shard_index: int64")
    .Input("num_shards: int64")
    .Attr("with_trials: bool = true")
    .Output("rows: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      const int ranks[] = {0, 1, 0, 0};
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), ranks[i], &unused));
      }
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Replaces all rows by those that the files have for this server.

The files may come from any number of servers. Tables and segments are matched
by name: what only the files have is passed over, a segment that only the model
has gets initial values. If a segment's optimizer is of another type now, its
state starts anew. Damaged or unfinished files are refused before any row
changes, naming the file and the reason.

handle: scalar. From MonolithTableSet.
files: [num_files]. From MonolithSaveTables: those of all servers.
shard_index: scalar. Which server this is, from 0.
num_shards: scalar. How many servers there are now.
with_trials: Whether ids that have no row yet count on where they were. Those of
  files from as many servers do; of others as many as there is room for, the
  latest before others. With another admission capacity they begin at 0 again.
rows: scalar. How many rows were read.
)doc");

}  // namespace
}  // namespace monolith
