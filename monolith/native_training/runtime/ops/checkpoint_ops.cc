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
    .Input("save_id: string")
    .Input("base_save_id: string")
    .Input("urgent: bool")
    .Attr("num_files: int >= 1 = 1")
    .Output("rows: int64")
    .Output("erased: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 0, &unused));
      }
      c->set_output(0, c->Scalar());
      c->set_output(1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Writes all tables to files, on any filesystem that TensorFlow can write to.

Files appear under their names once they are whole. Training goes on meanwhile;
weights, optimizer state and time of a row are from one moment.

With a `base_save_id` only the rows that have changed since that save are
written, and which ids have lost their rows meanwhile. It must be the last save of these
tables that has succeeded: FailedPrecondition, otherwise, if they were restored
since, and if they have lost so many rows that they do not know which. An error
means that the next save must be of everything. Aborted: the tables are being
restored or cleared. An error of storage is never Aborted, Cancelled or
Unavailable, but Unknown then.

handle: scalar. From MonolithTableSet.
file: scalar. Its folder is made if needed. With several files each has
  "-K-of-NUM_FILES" behind that.
shard_index: scalar. Which server this is, from 0.
num_shards: scalar. How many servers there are.
save_id: scalar. Names a save that another may take up from; '' for a copy on
  the side, which leaves what counts as changed alone.
base_save_id: scalar. '' for everything.
urgent: scalar. Whether to go as fast as it can, even if that slows training down:
  for a process that was asked to leave and is killed soon.
num_files: How many files to write beside each other.
rows: scalar. How many rows were written.
erased: scalar. How many ids that have lost their row were written, some of them
  perhaps with a row again.
)doc");

REGISTER_OP("MonolithHurrySaves")
    .Input("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      return c->WithRank(c->input(0), 0, &unused);
    })
    .Doc(R"doc(
Makes the saves of these tables that are running urgent.

handle: scalar. From MonolithTableSet.
)doc");

REGISTER_OP("MonolithRestoreTables")
    .Input("handle: resource")
    .Input("files: string")
    .Input("save_ids: string")
    .Input("shard_index: int64")
    .Input("num_shards: int64")
    .Attr("with_trials: bool = true")
    .Attr(
        "must_fit: {'every_segment', 'shared_segments', 'nothing'} = "
        "'shared_segments'")
    .Attr("log_warnings: bool = false")
    .Output("rows: int64")
    .Output("warnings: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      const int ranks[] = {0, 1, 1, 0, 0};
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), ranks[i], &unused));
      }
      c->set_output(0, c->Scalar());
      c->set_output(1, c->Vector(InferenceContext::kUnknownDim));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Replaces all rows by those that the files have for this server.

The files may come from any number of servers, and from several saves: all those
of a save of everything first, then all those of each save of changes, in order.
A file that is missing or of another save than it must be, or a save that does
not follow the one before, is refused. Tables and segments are matched by name:
what only the files have is passed over, a segment that only the model has may
get initial values. If a segment's optimizer is of another type now, its state
starts anew. Damaged or unfinished files are refused, naming the file and the
reason; rows that were there before are then there as they were. Where storage
fails while rows are replaced, the tables are empty.

Of the same tables one is restored at a time. Restoring or clearing them ends
what began before, saves too, with Aborted, and waits for that. An error of
storage is never Aborted, Cancelled or Unavailable, but Unknown then.

handle: scalar. From MonolithTableSet.
files: [num_files]. From MonolithSaveTables: those of all servers.
save_ids: [num_files] or [0]. Which save each file must be of, by its manifest.
shard_index: scalar. Which server this is, from 0.
num_shards: scalar. How many servers there are now.
with_trials: Whether ids that have no row yet count on where they were. Those of
  files from as many servers do; of others as many as there is room for, the
  latest before others. With another admission capacity they begin at 0 again.
must_fit: What is not to begin with initial values, but to be refused where it
  does not fit: 'every_segment' of a table; 'shared_segments', which the files
  have too, but of another dim; or 'nothing', so that files of other tables only
  will do; a table of which they have no segment of the same dim stays empty.
log_warnings: Whether to log them as well.
rows: scalar. How many rows were read.
warnings: [num_warnings]. What did not fit and began anew or, with
  'shared_segments', was left out; a sentence each.
)doc");

}  // namespace
}  // namespace monolith
