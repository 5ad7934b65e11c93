#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/table_set/table_request.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_set_kernel.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using MissingId = EmbeddingHashTable::MissingId;

class LookupOp : public TableSetKernel {
 public:
  explicit LookupOp(OpKernelConstruction* context) : TableSetKernel(context) {
    std::string missing;
    OP_REQUIRES_OK(context, context->GetAttr("missing", &missing));
    missing_ = missing == "zero" ? MissingId::kZero : MissingId::kInitialValue;
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kRequest };
    TF_ASSIGN_OR_RETURN(const TableRequest request,
                        ParseTableRequest(tables, context->input(kRequest)));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        0, TensorShape({request.value_size}), &output));
    auto flat = output->flat<float>();
    const absl::Span<float> values = absl::MakeSpan(flat.data(), flat.size());
    WorkerExecutor executor(context);
    return ForEachPart(
        request, executor, [&](size_t, const TableRequest::Part& part) {
          return part.table->Lookup(
              part.ids, missing_,
              values.subspan(part.value_begin, part.value_size), executor);
        });
  }

 private:
  MissingId missing_ = MissingId::kInitialValue;
};

REGISTER_KERNEL_BUILDER(Name("MonolithLookup").Device(DEVICE_CPU), LookupOp);

}  // namespace
}  // namespace monolith
