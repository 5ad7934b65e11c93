#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/global_norm.h"
#include "monolith/native_training/runtime/hash_table/finite_check.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

using Gradients = absl::InlinedVector<absl::Span<const float>, 16>;

class ClipByGlobalNormOp : public tensorflow::OpKernel {
 public:
  explicit ClipByGlobalNormOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("names", &names_));
    OP_REQUIRES_OK(context, CheckSize("names", names_.size(), num_inputs(),
                                      "one per gradient"));
    OP_REQUIRES_OK(context, context->GetAttr("clip_norm", &clip_norm_));
    OP_REQUIRES(
        context, IsFinite(clip_norm_) && clip_norm_ >= 0,
        absl::InvalidArgumentError(absl::StrCat(
            "clip_norm must be finite and 0 or more, got ", clip_norm_)));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) const {
    Gradients gradients;
    for (int i = 0; i < num_inputs(); ++i) {
      const auto flat = context->input(i).flat<float>();
      gradients.push_back(absl::MakeConstSpan(flat.data(), flat.size()));
    }
    WorkerExecutor executor(context);
    const double norm = GlobalNorm(gradients, executor);
    if (!IsFinite(norm)) return NonFiniteError(gradients, executor);
    if (clip_norm_ == 0 || norm <= clip_norm_) {
      for (int i = 0; i < num_inputs(); ++i) {
        context->set_output(i, context->input(i));
      }
      return absl::OkStatus();
    }
    for (int i = 0; i < num_inputs(); ++i) {
      Tensor* clipped = nullptr;
      TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(
          {i}, i, context->input(i).shape(), &clipped));
      auto flat = clipped->flat<float>();
      Scale(gradients[i], clip_norm_ / norm, executor,
            absl::MakeSpan(flat.data(), flat.size()));
    }
    return absl::OkStatus();
  }

  absl::Status NonFiniteError(const Gradients& gradients,
                              WorkerExecutor& executor) const {
    std::string found;
    for (size_t i = 0; i < gradients.size(); ++i) {
      const size_t at = FindNonFinite(gradients[i], executor);
      if (at == gradients[i].size()) continue;
      absl::StrAppend(&found, found.empty() ? "" : ", ", names_[i], " (",
                      gradients[i][at], ")");
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "the gradient is not finite of ", found,
        "; nothing was updated. A smaller learning rate or a check of the "
        "features and labels may help"));
  }

  std::vector<std::string> names_;
  float clip_norm_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("MonolithClipByGlobalNorm").Device(DEVICE_CPU),
                        ClipByGlobalNormOp);

}  // namespace
}  // namespace monolith
