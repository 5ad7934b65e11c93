#include <cstdint>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithShardIds")
    .Input("ids: num_features * int64")
    .Input("row_splits: num_features * int64")
    .Attr("num_features: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("table_of_feature: list(int)")
    .Attr("table_dims: list(int)")
    .Attr("feature_names: list(string)")
    .Attr("counted_tables: list(int) = []")
    .Output("requests: num_shards * int64")
    .Output("index: int64")
    .SetShapeFn([](InferenceContext* c) {
      int num_features;
      int num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_features", &num_features));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      DimensionHandle num_ids = c->MakeDim(0);
      for (int i = 0; i < 2 * num_features; ++i) {
        ShapeHandle vector;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 1, &vector));
        if (i < num_features) {
          TF_RETURN_IF_ERROR(c->Add(num_ids, c->Dim(vector, 0), &num_ids));
        }
      }
      for (int s = 0; s < num_shards; ++s) {
        c->set_output(s, c->Vector(c->UnknownDim()));
      }
      c->set_output(num_shards, c->Vector(num_ids));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Prepares a batch's ids for lookup: each id once, on the server that owns it.

The ids of all features become one request per server. Features that share a
table share its rows, so an id that several of them carry is sent once.
runtime/batch/request_format.h describes requests and index entries.

For example, two features of two tables on one server:

    requests, index = monolith_shard_ids(
        ids=[[7, 9, 7], [5]], row_splits=[[0, 2, 3], [0, 0, 1]], num_shards=1,
        table_of_feature=[0, 1], table_dims=[4, 8],
        feature_names=['mov', 'uid'])
    # requests[0]: [2, 1, 7, 9, 5]; index: [0, 4, 0, 8]

ids: Per feature [num_ids]. Any number is a legal id.
row_splits: Per feature [batch_size + 1]. Example i owns the ids from
  row_splits[i] to row_splits[i + 1].
num_features: Number of features.
num_shards: Number of servers.
table_of_feature: Per feature, the position of its table in `table_dims`.
table_dims: Per table, the floats of a row.
feature_names: Per feature, what messages call it.
counted_tables: Positions of the tables whose requests also say how often each
  id stood in the batch: those with an occurrence threshold.
requests: Per server [num_tables + ids sent to it + a quarter of the ids of
  `counted_tables`]. How many ids there are of each table, then the ids, table
  by table, in order of first appearance, then the occurrences.
index: [num_ids of all features]. Feature by feature, where in the servers'
  values the row of each id stands.
)doc");

}  // namespace
}  // namespace monolith
