// Base of the kernels that have the handle of a table set as input `handle`.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_KERNEL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_KERNEL_H_

#include <utility>

#include "absl/status/status.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/framework/cancellation.h"
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

// Whether the step that an op is a part of is cancelled, as when its session is
// closed or has lost another server. May be asked until the op is done.
inline TableTurns::IsCancelled StepIsCancelled(
    tensorflow::OpKernelContext* context) {
  return [manager = context->cancellation_manager()] {
    return manager != nullptr && manager->IsCancelled();
  };
}

// For what may take long and waits for storage: it has a thread of its own, so
// that steps and questions to the server never wait for one that it holds.
class SlowTableSetKernel : public tensorflow::AsyncOpKernel {
 public:
  using AsyncOpKernel::AsyncOpKernel;

  void ComputeAsync(tensorflow::OpKernelContext* context,
                    DoneCallback done) final {
    tensorflow::ResourceHandle handle;
    OP_REQUIRES_OK_ASYNC(
        context, tensorflow::HandleFromInput(context, "handle", &handle), done);
    tensorflow::core::RefCountPtr<TableSet> tables;
    OP_REQUIRES_OK_ASYNC(
        context, tensorflow::LookupResource(context, handle, &tables), done);
    context->env()->SchedClosure(
        [this, context, done, tables = std::move(tables)] {
          OP_REQUIRES_OK_ASYNC(context, Run(context, *tables), done);
          done();
        });
  }

 protected:
  // In a thread that may wait.
  virtual absl::Status Run(tensorflow::OpKernelContext* context,
                           TableSet& tables) = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_SET_TABLE_SET_KERNEL_H_
