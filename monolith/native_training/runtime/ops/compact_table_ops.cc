#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithCompactTables")
    .Attr("table_names: list(string) >= 1")
    .Attr("table_dims: list(int) >= 1")
    .Attr("container: string = ''")
    .Attr("shared_name: string = ''")
    .Output("handle: resource")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::ScalarShape)
    .Doc(R"doc(
The tables of an exported model, or those of this name that are there.

They are made without rows, which MonolithLoadCompactTables reads, and live
until the session ends, the container is cleared or the handle is passed to
`DestroyResourceOp`.

table_names: Names of the tables, which differ.
table_dims: Floats of a row of each table, positive.
container: Where the tables are kept; empty: the default container.
shared_name: Name of the set; each export has one of its own.
handle: scalar. Stands for the tables in other ops on the same device.
)doc");

REGISTER_OP("MonolithLoadCompactTables")
    .Input("handle: resource")
    .Input("files: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      return c->WithRank(c->input(1), 1, &unused);
    })
    .Doc(R"doc(
Reads the tables of an exported model into memory.

A file that is damaged, or of a later version, is refused, naming the file and
the reason; tables that were loaded before are then there as they were.

handle: scalar. From MonolithCompactTables.
files: [num_tables]. From MonolithExportTables, in any order.
)doc");

REGISTER_OP("MonolithCompactLookup")
    .Input("handle: resource")
    .Input("request: int64")
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
Reads the rows a request asks for, of all tables at once: MonolithLookup of an
exported model. An id without a row reads zeros.

handle: scalar. From MonolithCompactTables; its tables have been loaded.
request: [num_tables + num_ids]. From MonolithShardIds: the number of ids of
  each table, then the ids, table by table.
values: [sum over tables of ids * dim]. The rows in the order of the ids.
)doc");

REGISTER_OP("MonolithCompactTableStats")
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
Counts rows and memory of each table of an exported model.

handle: scalar. From MonolithCompactTables; its tables have been loaded.
sizes: [num_tables]. Number of rows.
memory_bytes: [num_tables]. Bytes held for rows and index.
)doc");

REGISTER_OP("MonolithExportTables")
    .Input("files: string")
    .Input("save_ids: string")
    .Input("outputs: string")
    .Attr("config: string")
    .Attr("num_shards: int >= 1 = 1")
    .Attr("memory_bytes: int >= 1 = 268435456")
    .Output("rows: int64")
    .Output("rows_read: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &unused));
      ShapeHandle outputs;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &outputs));
      c->set_output(0, outputs);
      c->set_output(1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Turns the files of a checkpoint's rows into tables for serving.

Rows are compressed as their segments say, and have no optimizer state. Tables
and segments are matched by name, and files refused, as MonolithRestoreTables
does where every segment must fit, and if they lack a table; a file is left
behind in part then. Where an
output cannot be written the error is Unknown, whatever the reason.

files: [num_files]. From MonolithSaveTables: those of all servers, those of a
  save of everything first, then those of each save of changes.
save_ids: [num_files] or [0]. Which save each file must be of, by its manifest.
outputs: [num_shards * num_tables]. The files to write: those of the first shard
  for each table, and so on. A file with ".unsorted" behind the name of the first
  may be beside it meanwhile.
config: The tables as JSON; runtime/hash_table/table_config.h describes it.
num_shards: How many servers the ids are spread over.
memory_bytes: How much memory rows may take until they are written, about.
rows: [num_shards * num_tables]. How many rows each output has.
rows_read: scalar. How many rows all files have, a row again in each save.
)doc");

}  // namespace
}  // namespace monolith
