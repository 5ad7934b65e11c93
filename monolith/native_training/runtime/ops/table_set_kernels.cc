#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_set/config_difference.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_set_kernel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_op_kernel.h"
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

class TableSetOp : public tensorflow::ResourceOpKernel<TableSet> {
 public:
  explicit TableSetOp(OpKernelConstruction* context)
      : ResourceOpKernel(context) {
    std::string json;
    OP_REQUIRES_OK(context, context->GetAttr("config", &json));
    absl::StatusOr<std::vector<TableConfig>> configs = ParseTableConfigs(json);
    OP_REQUIRES_OK(context, configs.status());
    configs_ = *std::move(configs);
  }

 private:
  absl::Status CreateResource(TableSet** tables) override {
    absl::StatusOr<TableSet*> created = TableSet::Create(configs_);
    *tables = created.ok() ? *created : nullptr;
    return created.status();
  }

  absl::Status VerifyResource(TableSet* tables) override {
    const std::string difference =
        FindConfigDifference(tables->configs(), configs_);
    if (difference.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "a set of tables with this name, but another config, exists: ",
        difference,
        ". Where an earlier model's parameter server has it, start it anew"));
  }

  std::vector<TableConfig> configs_;
};

class TableStatsOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Outputs { kSizes, kMemoryBytes };
    const TensorShape shape({tables.num_tables()});
    Tensor* sizes = nullptr;
    Tensor* memory = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(kSizes, shape, &sizes));
    TF_RETURN_IF_ERROR(context->allocate_output(kMemoryBytes, shape, &memory));
    for (int t = 0; t < tables.num_tables(); ++t) {
      sizes->vec<int64_t>()(t) = tables.table(t).size();
      memory->vec<int64_t>()(t) = tables.table(t).memory_bytes();
    }
    return absl::OkStatus();
  }
};

class TableClearOp : public SlowTableSetKernel {
 public:
  using SlowTableSetKernel::SlowTableSetKernel;

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    TableTurns& turns = tables.turns();
    TF_ASSIGN_OR_RETURN(
        const std::unique_ptr<TableTurns::Turn> turn,
        turns.BeginReplacing(turns.TakeNumber(), StepIsCancelled(context)));
    turn->ForgetLastSave();
    tables.Clear();
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithTableSet").Device(DEVICE_CPU),
                        TableSetOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTableStats").Device(DEVICE_CPU),
                        TableStatsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTableClear").Device(DEVICE_CPU),
                        TableClearOp);

}  // namespace
}  // namespace monolith
