#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
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

absl::Status OutputScalar(OpKernelContext* context, int64_t value) {
  Tensor* output = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({}), &output));
  output->scalar<int64_t>()() = value;
  return absl::OkStatus();
}

template <typename To, typename From>
absl::Status OutputColumn(OpKernelContext* context, int output,
                          const TensorShape& shape,
                          const std::vector<From>& column) {
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, shape, &tensor));
  std::copy(column.begin(), column.end(), tensor->flat<To>().data());
  return absl::OkStatus();
}

class AssignOp : public TableSetKernel {
 public:
  explicit AssignOp(OpKernelConstruction* context) : TableSetKernel(context) {
    std::string mode;
    OP_REQUIRES_OK(context, context->GetAttr("mode", &mode));
    add_ = mode == "add";
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kRequest, kValues, kUpdateTime };
    TF_ASSIGN_OR_RETURN(const TableRequest request,
                        ParseTableRequest(tables, context->input(kRequest)));
    TF_ASSIGN_OR_RETURN(const absl::Span<const float> values,
                        FloatVector("values", context->input(kValues)));
    TF_RETURN_IF_ERROR(CheckSize("values", values.size(), request.value_size,
                                 "the sum over tables of ids * dim"));
    TF_ASSIGN_OR_RETURN(const uint32_t time,
                        TimeScalar("update_time", context->input(kUpdateTime)));
    WorkerExecutor executor(context);
    for (const TableRequest::Part& part : request.parts) {
      TF_RETURN_IF_ERROR(part.table->ValidateValues(
          part.ids, values.subspan(part.value_begin, part.value_size),
          executor));
    }
    for (const TableRequest::Part& part : request.parts) {
      const auto rows = values.subspan(part.value_begin, part.value_size);
      TF_RETURN_IF_ERROR(
          add_ ? part.table->AssignAdd(part.ids, rows, time, executor)
               : part.table->Assign(part.ids, rows, time, executor));
    }
    return absl::OkStatus();
  }

 private:
  bool add_ = false;
};

class EraseOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kRequest };
    TF_ASSIGN_OR_RETURN(const TableRequest request,
                        ParseTableRequest(tables, context->input(kRequest)));
    WorkerExecutor executor(context);
    int64_t erased = 0;
    for (const TableRequest::Part& part : request.parts) {
      TF_ASSIGN_OR_RETURN(const int64_t rows,
                          part.table->Erase(part.ids, executor));
      erased += rows;
    }
    return OutputScalar(context, erased);
  }
};

class EvictOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  enum Inputs { kHandle, kNow, kPart };

  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    return EvictPart(context, tables, 0, 1);
  }

  absl::Status EvictPart(OpKernelContext* context, TableSet& tables, int part,
                         int num_parts) {
    TF_ASSIGN_OR_RETURN(const uint32_t now,
                        TimeScalar("now", context->input(kNow)));
    WorkerExecutor executor(context);
    std::vector<int64_t> evicted;
    for (int t = 0; t < tables.num_tables(); ++t) {
      evicted.push_back(
          tables.table(t).EvictPart(now, part, num_parts, executor));
    }
    return OutputColumn<int64_t>(context, 0, TensorShape({tables.num_tables()}),
                                 evicted);
  }
};

class EvictPartOp : public EvictOp {
 public:
  explicit EvictPartOp(OpKernelConstruction* context) : EvictOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_parts", &num_parts_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    TF_ASSIGN_OR_RETURN(const int64_t part,
                        Int64Scalar("part", context->input(kPart)));
    if (part < 0 || part >= num_parts_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "part must be in 0 .. ", num_parts_ - 1, ", got ", part));
    }
    return EvictPart(context, tables, static_cast<int>(part), num_parts_);
  }

 private:
  int num_parts_ = 1;
};

class ExportRowsOp : public TableSetKernel {
 public:
  explicit ExportRowsOp(OpKernelConstruction* context)
      : TableSetKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    enum Inputs { kHandle, kStripe };
    enum Outputs { kIds, kEmbeddings, kStates, kUpdateTimes };
    TF_ASSIGN_OR_RETURN(const int64_t stripe,
                        Int64Scalar("stripe", context->input(kStripe)));
    if (table_ >= tables.num_tables()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown table: table must be in 0 .. ",
                       tables.num_tables() - 1, ", got ", table_));
    }
    const EmbeddingHashTable& table = tables.table(table_);
    if (stripe < 0 || stripe >= table.num_stripes()) {
      return absl::InvalidArgumentError(absl::StrCat("stripe must be in 0 .. ",
                                                     table.num_stripes() - 1,
                                                     ", got ", stripe));
    }
    EmbeddingHashTable::RowBatch rows;
    TF_RETURN_IF_ERROR(table.ExportStripe(static_cast<int>(stripe), &rows));
    const int64_t n = rows.ids.size();
    TF_RETURN_IF_ERROR(
        OutputColumn<int64_t>(context, kIds, TensorShape({n}), rows.ids));
    TF_RETURN_IF_ERROR(OutputColumn<float>(
        context, kEmbeddings, TensorShape({n, table.dim()}), rows.embeddings));
    TF_RETURN_IF_ERROR(OutputColumn<float>(
        context, kStates, TensorShape({n, table.state_dim()}), rows.states));
    return OutputColumn<int64_t>(context, kUpdateTimes, TensorShape({n}),
                                 rows.update_times);
  }

 private:
  int table_ = 0;
};

class ExportStripesOp : public TableSetKernel {
 public:
  using TableSetKernel::TableSetKernel;

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    std::vector<int64_t> stripes;
    for (int t = 0; t < tables.num_tables(); ++t) {
      stripes.push_back(tables.table(t).num_stripes());
    }
    return OutputColumn<int64_t>(context, 0, TensorShape({tables.num_tables()}),
                                 stripes);
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithAssign").Device(DEVICE_CPU), AssignOp);
REGISTER_KERNEL_BUILDER(Name("MonolithErase").Device(DEVICE_CPU), EraseOp);
REGISTER_KERNEL_BUILDER(Name("MonolithEvict").Device(DEVICE_CPU), EvictOp);
REGISTER_KERNEL_BUILDER(Name("MonolithEvictPart").Device(DEVICE_CPU),
                        EvictPartOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportRows").Device(DEVICE_CPU),
                        ExportRowsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportStripes").Device(DEVICE_CPU),
                        ExportStripesOp);

}  // namespace
}  // namespace monolith
