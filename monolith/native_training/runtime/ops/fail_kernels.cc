#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;

class FailOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& message = context->input(0);
    OP_REQUIRES(context, message.dims() == 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "message must be a scalar, got rank ", message.dims())));
    const tstring& text = message.scalar<tstring>()();
    OP_REQUIRES(context, text.empty(),
                absl::InvalidArgumentError(
                    absl::string_view(text.data(), text.size())));
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithFail").Device(DEVICE_CPU), FailOp);

}  // namespace
}  // namespace monolith
