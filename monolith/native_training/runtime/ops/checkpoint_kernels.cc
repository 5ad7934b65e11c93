#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/table_files/restore_tables.h"
#include "monolith/native_training/runtime/ops/table_files/save_tables.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set.h"
#include "monolith/native_training/runtime/ops/table_set_kernel.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/statusor.h"
#include "tensorflow/core/platform/tstring.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

// One of the servers, by two of the inputs.
absl::StatusOr<TableShard> ShardInput(OpKernelContext* context, int index,
                                      int count) {
  TF_ASSIGN_OR_RETURN(const int64_t num_shards,
                      Int64Scalar("num_shards", context->input(count)));
  if (num_shards < 1 || num_shards > kMaxShards) {
    return absl::InvalidArgumentError(absl::StrCat(
        "num_shards must be in 1 .. ", kMaxShards, ", got ", num_shards));
  }
  TF_ASSIGN_OR_RETURN(const int64_t shard_index,
                      Int64Scalar("shard_index", context->input(index)));
  if (shard_index < 0 || shard_index >= num_shards) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shard_index must be in 0 .. ", num_shards - 1, ", got ", shard_index));
  }
  return TableShard{static_cast<int>(shard_index),
                    static_cast<int>(num_shards)};
}

absl::Status OutputRows(OpKernelContext* context, int64_t rows) {
  Tensor* output = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({}), &output));
  output->scalar<int64_t>()() = rows;
  return absl::OkStatus();
}

class SaveTablesOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kFile, kShardIndex, kNumShards };
    const Tensor& file = context->input(kFile);
    TF_RETURN_IF_ERROR(CheckShape("file", file, TensorShape({})));
    const std::string name(file.scalar<tstring>()());
    if (name.empty()) {
      return absl::InvalidArgumentError("file must be a name, got ''");
    }
    TF_ASSIGN_OR_RETURN(const TableShard shard,
                        ShardInput(context, kShardIndex, kNumShards));
    TF_ASSIGN_OR_RETURN(const int64_t rows,
                        SaveTables(tables, shard, context->device()->name(),
                                   context->env(), name));
    return OutputRows(context, rows);
  }
};

class RestoreTablesOp : public TableSetKernel {
 public:
  explicit RestoreTablesOp(OpKernelConstruction* context)
      : TableSetKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("with_trials", &with_trials_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kFiles, kShardIndex, kNumShards };
    const Tensor& input = context->input(kFiles);
    TF_RETURN_IF_ERROR(
        CheckShape("files", input, TensorShape({input.NumElements()})));
    const auto flat = input.flat<tstring>();
    const std::vector<std::string> files(flat.data(),
                                         flat.data() + flat.size());
    TF_ASSIGN_OR_RETURN(const TableShard shard,
                        ShardInput(context, kShardIndex, kNumShards));
    WorkerExecutor executor(context);
    TF_ASSIGN_OR_RETURN(const int64_t rows,
                        RestoreTables(tables, files, shard, with_trials_,
                                      context->env(), executor));
    return OutputRows(context, rows);
  }

 private:
  bool with_trials_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithSaveTables").Device(DEVICE_CPU),
                        SaveTablesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRestoreTables").Device(DEVICE_CPU),
                        RestoreTablesOp);

}  // namespace
}  // namespace monolith
