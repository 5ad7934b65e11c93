#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithClipByGlobalNorm")
    .Input("gradients: num_gradients * float")
    .Attr("num_gradients: int >= 1")
    .Attr("names: list(string)")
    .Attr("clip_norm: float")
    .Output("clipped: num_gradients * float")
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < c->num_inputs(); ++i) c->set_output(i, c->input(i));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Scales gradients so that their joint norm is at most `clip_norm`.

The norm is the root of the sum of all squares, in double precision: it exists for
any finite gradients. Gradients within it pass through uncopied. A NaN or infinite
gradient is rejected by its name.

For example, a norm of 5 brought down to 1:

    monolith_clip_by_global_norm([[3.], [4.]], names=['a', 'b'], clip_norm=1.)
    # [[0.6], [0.8]]

gradients: of any shapes.
names: Per gradient, what messages call it.
clip_norm: The largest norm, finite; 0 does not clip.
clipped: Per gradient, shaped like it.
)doc");

}  // namespace
}  // namespace monolith
