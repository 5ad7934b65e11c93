#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithAssign")
    .Input("handle: resource")
    .Input("request: int64")
    .Input("values: float")
    .Input("update_time: int64")
    .Attr("mode: {'set', 'add'} = 'set'")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      const int ranks[] = {0, 1, 1, 0};
      for (int i = 0; i < c->num_inputs(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), ranks[i], &unused));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Writes embeddings. An id without a row gets one; optimizer state stays.

handle: scalar. From MonolithTableSet.
request: [num_tables + num_ids]. The number of ids of each table, then the ids,
  table by table.
values: [sum over tables of ids * dim]. One row per id.
update_time: scalar. Now, in seconds since the epoch: rows expire by it.
mode: 'set': the rows become `values`, the last one of a repeated id.
  'add': all values are added; a new row starts at its initial value. Sums stay
  within the largest finite float.
)doc");

REGISTER_OP("MonolithErase")
    .Input("handle: resource")
    .Input("request: int64")
    .Output("erased: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &unused));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Removes rows. Ids without a row are passed over.

handle: scalar. From MonolithTableSet.
request: [num_tables + num_ids]. The number of ids of each table, then the ids,
  table by table.
erased: scalar. How many rows there were.
)doc");

REGISTER_OP("MonolithEvict")
    .Input("handle: resource")
    .Input("now: int64")
    .Output("evicted: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &unused));
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Removes the rows that have not been updated for their table's `expire_time`.

Other ops on the tables go on meanwhile; they wait for short moments only.

handle: scalar. From MonolithTableSet.
now: scalar. The time to compare with, in seconds since the epoch.
evicted: [num_tables]. How many rows were removed.
)doc");

REGISTER_OP("MonolithEvictPart")
    .Input("handle: resource")
    .Input("now: int64")
    .Input("part: int64")
    .Attr("num_parts: int >= 1")
    .Output("evicted: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      for (int input = 0; input < c->num_inputs(); ++input) {
        TF_RETURN_IF_ERROR(c->WithRank(c->input(input), 0, &unused));
      }
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
MonolithEvict for a part of each table, so that one can stop in between.

handle: scalar. From MonolithTableSet.
now: scalar. The time to compare with, in seconds since the epoch.
part: scalar. Which part, in [0, num_parts).
num_parts: how many there are; equal ones, each of some of the ids.
evicted: [num_tables]. How many rows were removed.
)doc");

REGISTER_OP("MonolithExportRows")
    .Input("handle: resource")
    .Input("stripe: int64")
    .Attr("table: int >= 0")
    .Output("ids: int64")
    .Output("embeddings: float")
    .Output("states: float")
    .Output("update_times: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &unused));
      const auto n = c->UnknownDim();
      c->set_output(0, c->Vector(n));
      c->set_output(1, c->Matrix(n, c->UnknownDim()));
      c->set_output(2, c->Matrix(n, c->UnknownDim()));
      c->set_output(3, c->Vector(n));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads all rows of one stripe of a table, as they are at one moment.

A table is divided into stripes by a hash of the id; together they are the
table. MonolithExportStripes tells how many there are.

handle: scalar. From MonolithTableSet.
stripe: scalar. From 0.
table: Position of the table in the set, from 0.
ids: [n]. In no particular order.
embeddings: [n, dim].
states: [n, state_dim]. The optimizers' state, segment by segment.
update_times: [n]. Seconds since the epoch.
)doc");

REGISTER_OP("MonolithExportStripes")
    .Input("handle: resource")
    .Output("stripes: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Tells how many stripes MonolithExportRows has to read.

handle: scalar. From MonolithTableSet.
stripes: [num_tables].
)doc");

}  // namespace
}  // namespace monolith
