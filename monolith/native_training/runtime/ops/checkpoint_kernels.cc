#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/table_files/restore_tables.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/save_tables.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_set_kernel.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/logging.h"
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

absl::Status OutputNumber(OpKernelContext* context, int index, int64_t number) {
  Tensor* output = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(index, TensorShape({}), &output));
  output->scalar<int64_t>()() = number;
  return absl::OkStatus();
}

std::string StringInput(OpKernelContext* context, int index) {
  return std::string(context->input(index).scalar<tstring>()());
}

class SaveTablesOp : public SlowTableSetKernel {
 public:
  explicit SaveTablesOp(OpKernelConstruction* context)
      : SlowTableSetKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_files", &num_files_));
    OP_REQUIRES(
        context, num_files_ <= kMaxFiles,
        absl::InvalidArgumentError(absl::StrCat(
            "num_files must be in 1 .. ", kMaxFiles, ", got ", num_files_)));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs {
      kHandle,
      kFile,
      kShardIndex,
      kNumShards,
      kSaveId,
      kBaseSaveId,
      kUrgent
    };
    TF_RETURN_IF_ERROR(
        CheckShape("file", context->input(kFile), TensorShape({})));
    TF_RETURN_IF_ERROR(
        CheckShape("save_id", context->input(kSaveId), TensorShape({})));
    TF_RETURN_IF_ERROR(CheckShape("base_save_id", context->input(kBaseSaveId),
                                  TensorShape({})));
    TF_RETURN_IF_ERROR(
        CheckShape("urgent", context->input(kUrgent), TensorShape({})));
    SaveRequest request;
    request.file = StringInput(context, kFile);
    request.num_files = num_files_;
    request.written_by = context->device()->name();
    request.save_id = StringInput(context, kSaveId);
    request.base_save_id = StringInput(context, kBaseSaveId);
    request.urgent = context->input(kUrgent).scalar<bool>()();
    if (request.file.empty()) {
      return absl::InvalidArgumentError("file must be a name, got ''");
    }
    if (request.save_id.empty() && !request.base_save_id.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("base_save_id must be empty without a save_id, got '",
                       request.base_save_id, "'"));
    }
    TF_ASSIGN_OR_RETURN(request.shard,
                        ShardInput(context, kShardIndex, kNumShards));
    TF_ASSIGN_OR_RETURN(
        const TableCounts counts,
        SaveTables(tables, request, StepIsCancelled(context), context->env()));
    TF_RETURN_IF_ERROR(OutputNumber(context, 0, counts.rows));
    return OutputNumber(context, 1, counts.erased);
  }

 private:
  int num_files_ = 1;
};

class HurrySavesOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  absl::Status Run(OpKernelContext*, TableSet& tables) override {
    tables.HurrySaves();
    return absl::OkStatus();
  }
};

class RestoreTablesOp : public SlowTableSetKernel {
 public:
  explicit RestoreTablesOp(OpKernelConstruction* context)
      : SlowTableSetKernel(context) {
    OP_REQUIRES_OK(context,
                   context->GetAttr("with_trials", &options_.with_trials));
    std::string must_fit;
    OP_REQUIRES_OK(context, context->GetAttr("must_fit", &must_fit));
    options_.must_fit = must_fit == "every_segment" ? MustFit::kEverySegment
                        : must_fit == "nothing"     ? MustFit::kNothing
                                                    : MustFit::kSharedSegments;
    OP_REQUIRES_OK(context, context->GetAttr("log_warnings", &log_warnings_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kFiles, kSaveIds, kShardIndex, kNumShards };
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                        StringVector("files", context->input(kFiles)));
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> save_ids,
                        SaveIds(context->input(kSaveIds), files.size()));
    TF_ASSIGN_OR_RETURN(const TableShard shard,
                        ShardInput(context, kShardIndex, kNumShards));
    TF_ASSIGN_OR_RETURN(
        const Restored restored,
        RestoreTables(tables, files, save_ids, shard, options_,
                      StepIsCancelled(context), context->env()));
    if (log_warnings_) {
      // Below ERROR nothing is shown by default (monolith/__init__.py).
      for (const std::string& warning : restored.warnings) {
        LOG(ERROR) << warning;
      }
    }
    TF_RETURN_IF_ERROR(OutputNumber(context, 0, restored.rows));
    Tensor* warnings = nullptr;
    const auto num_warnings = static_cast<int64_t>(restored.warnings.size());
    TF_RETURN_IF_ERROR(
        context->allocate_output(1, TensorShape({num_warnings}), &warnings));
    std::copy(restored.warnings.begin(), restored.warnings.end(),
              warnings->flat<tstring>().data());
    return absl::OkStatus();
  }

 private:
  RestoreOptions options_;
  bool log_warnings_ = false;
};

REGISTER_KERNEL_BUILDER(Name("MonolithSaveTables").Device(DEVICE_CPU),
                        SaveTablesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithHurrySaves").Device(DEVICE_CPU),
                        HurrySavesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRestoreTables").Device(DEVICE_CPU),
                        RestoreTablesOp);

}  // namespace
}  // namespace monolith
