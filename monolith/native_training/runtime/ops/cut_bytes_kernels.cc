#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class CutBytesOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  enum Inputs { kBytes, kBegin, kEnd };

  static absl::Status Run(OpKernelContext* context) {
    TF_ASSIGN_OR_RETURN(const auto bytes,
                        ByteVector("bytes", context->input(kBytes)));
    TF_ASSIGN_OR_RETURN(const auto begin,
                        Int64Vector("begin", context->input(kBegin)));
    TF_ASSIGN_OR_RETURN(const auto end,
                        Int64Vector("end", context->input(kEnd)));
    TF_RETURN_IF_ERROR(
        CheckSize("end", end.size(), begin.size(), "one per begin"));
    Tensor* strings_tensor = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        0, TensorShape({static_cast<int64_t>(begin.size())}), &strings_tensor));
    auto strings = strings_tensor->vec<tensorflow::tstring>();
    const auto* data = reinterpret_cast<const char*>(bytes.data());
    const auto size = static_cast<int64_t>(bytes.size());
    for (size_t i = 0; i < begin.size(); ++i) {
      if (begin[i] < 0 || begin[i] > end[i] || end[i] > size) {
        return absl::InvalidArgumentError(
            absl::StrCat("string ", i, " is from ", begin[i], " to ", end[i],
                         " of ", size, " bytes"));
      }
      strings(i).assign(data + begin[i], end[i] - begin[i]);
    }
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithCutBytes").Device(DEVICE_CPU),
                        CutBytesOp);

}  // namespace
}  // namespace monolith
