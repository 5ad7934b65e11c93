// Base of the kernels that have the handle of a table set as input `handle`.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_KERNEL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_KERNEL_H_

#include "absl/status/status.h"
#include "monolith/native_training/runtime/ops/table_set.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/lib/core/refcount.h"

namespace monolith {

class TableSetKernel : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) final {
    tensorflow::ResourceHandle handle;
    OP_REQUIRES_OK(context,
                   tensorflow::HandleFromInput(context, "handle", &handle));
    tensorflow::core::RefCountPtr<TableSet> tables;
    OP_REQUIRES_OK(context,
                   tensorflow::LookupResource(context, handle, &tables));
    OP_REQUIRES_OK(context, Run(context, *tables));
  }

 protected:
  virtual absl::Status Run(tensorflow::OpKernelContext* context,
                           TableSet& tables) = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_KERNEL_H_
