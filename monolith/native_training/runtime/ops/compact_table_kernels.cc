#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/compact_tables/compact_table_set.h"
#include "monolith/native_training/runtime/ops/compact_tables/export_tables.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/lib/core/refcount.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using ::tensorflow::AsyncOpKernel;
using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using TableSetPtr = ::tensorflow::core::RefCountPtr<CompactTableSet>;
using TablesPtr = std::shared_ptr<const CompactTableSet::Tables>;

absl::StatusOr<TableSetPtr> FindTableSet(OpKernelContext* context) {
  tensorflow::ResourceHandle handle;
  TF_RETURN_IF_ERROR(tensorflow::HandleFromInput(context, "handle", &handle));
  TableSetPtr tables;
  TF_RETURN_IF_ERROR(tensorflow::LookupResource(context, handle, &tables));
  return tables;
}

absl::StatusOr<TablesPtr> LoadedTables(const CompactTableSet& set) {
  TablesPtr tables = set.tables();
  if (tables != nullptr) return tables;
  return absl::FailedPreconditionError(
      "the exported tables have not been loaded: a SavedModel's init op, which "
      "its loaders run, does that");
}

// Runs what waits for storage in a thread of its own, so that nothing else
// waits for one that it holds.
class StorageKernel : public AsyncOpKernel {
 public:
  using AsyncOpKernel::AsyncOpKernel;

  void ComputeAsync(OpKernelContext* context, DoneCallback done) final {
    context->env()->SchedClosure([this, context, done] {
      OP_REQUIRES_OK_ASYNC(context, Run(context), done);
      done();
    });
  }

 protected:
  virtual absl::Status Run(OpKernelContext* context) = 0;
};

class CompactTablesOp : public tensorflow::ResourceOpKernel<CompactTableSet> {
 public:
  explicit CompactTablesOp(OpKernelConstruction* context)
      : ResourceOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table_names", &names_));
    OP_REQUIRES_OK(context, context->GetAttr("table_dims", &dims_));
    OP_REQUIRES_OK(context, CheckSize("table_dims", dims_.size(), names_.size(),
                                      "one per table"));
    for (size_t t = 0; t < dims_.size(); ++t) {
      OP_REQUIRES(context, dims_[t] > 0 && dims_[t] <= kMaxRowFloats,
                  absl::InvalidArgumentError(absl::StrCat(
                      "table_dims: got ", dims_[t], " for table ", names_[t],
                      ", wanted 1 .. ", kMaxRowFloats)));
    }
    OP_REQUIRES(context,
                std::set<std::string>(names_.begin(), names_.end()).size() ==
                    names_.size(),
                absl::InvalidArgumentError(
                    "table_names: got a name twice, wanted names that differ"));
  }

 private:
  absl::Status CreateResource(CompactTableSet** tables) override {
    *tables = new CompactTableSet(names_, dims_);
    return absl::OkStatus();
  }

  absl::Status VerifyResource(CompactTableSet* tables) override {
    if (tables->names() == absl::MakeConstSpan(names_) &&
        tables->dims() == absl::MakeConstSpan(dims_)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("exported tables with this name, but other ones, exist: ",
                     tables->DebugString()));
  }

  std::vector<std::string> names_;
  std::vector<int64_t> dims_;
};

class LoadCompactTablesOp : public StorageKernel {
 public:
  using StorageKernel::StorageKernel;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    enum Inputs { kHandle, kFiles };
    TF_ASSIGN_OR_RETURN(const TableSetPtr tables, FindTableSet(context));
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                        StringVector("files", context->input(kFiles)));
    return tables->Load(files, context->env());
  }
};

class CompactLookupOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  static absl::Status Run(OpKernelContext* context) {
    enum Inputs { kHandle, kRequest };
    TF_ASSIGN_OR_RETURN(const TableSetPtr set, FindTableSet(context));
    TF_ASSIGN_OR_RETURN(const TablesPtr tables, LoadedTables(*set));
    TF_ASSIGN_OR_RETURN(const absl::Span<const int64_t> numbers,
                        Int64Vector("request", context->input(kRequest)));
    TF_ASSIGN_OR_RETURN(const RequestView request,
                        ParseRequest(numbers, set->num_tables()));
    TF_ASSIGN_OR_RETURN(const int64_t num_floats,
                        ValueBufferSize(request, set->dims()));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(
        context->allocate_output(0, TensorShape({num_floats}), &output));
    float* values = output->flat<float>().data();
    absl::Span<const int64_t> ids = request.ids;
    WorkerExecutor executor(context);
    for (int t = 0; t < set->num_tables(); ++t) {
      const int64_t count = request.counts[t];
      const int64_t floats = count * set->dims()[t];
      TF_RETURN_IF_ERROR((*tables)[t]->Lookup(
          ids.subspan(0, count), absl::MakeSpan(values, floats), executor));
      ids.remove_prefix(count);
      values += floats;
    }
    return absl::OkStatus();
  }
};

class CompactTableStatsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  static absl::Status Run(OpKernelContext* context) {
    enum Outputs { kSizes, kMemoryBytes };
    TF_ASSIGN_OR_RETURN(const TableSetPtr set, FindTableSet(context));
    TF_ASSIGN_OR_RETURN(const TablesPtr tables, LoadedTables(*set));
    const TensorShape shape({set->num_tables()});
    Tensor* sizes = nullptr;
    Tensor* memory = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(kSizes, shape, &sizes));
    TF_RETURN_IF_ERROR(context->allocate_output(kMemoryBytes, shape, &memory));
    for (int t = 0; t < set->num_tables(); ++t) {
      sizes->vec<int64_t>()(t) = (*tables)[t]->size();
      memory->vec<int64_t>()(t) = (*tables)[t]->memory_bytes();
    }
    return absl::OkStatus();
  }
};

class ExportTablesOp : public StorageKernel {
 public:
  explicit ExportTablesOp(OpKernelConstruction* context)
      : StorageKernel(context) {
    std::string json;
    OP_REQUIRES_OK(context, context->GetAttr("config", &json));
    absl::StatusOr<std::vector<TableConfig>> configs = ParseTableConfigs(json);
    OP_REQUIRES_OK(context, configs.status());
    configs_ = *std::move(configs);
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES(
        context, num_shards_ >= 1 && num_shards_ <= kMaxShards,
        absl::InvalidArgumentError(absl::StrCat(
            "num_shards must be in 1 .. ", kMaxShards, ", got ", num_shards_)));
    OP_REQUIRES_OK(context, context->GetAttr("memory_bytes", &memory_bytes_));
  }

 protected:
  absl::Status Run(OpKernelContext* context) override {
    enum Inputs { kFiles, kSaveIds, kOutputs };
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                        StringVector("files", context->input(kFiles)));
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> save_ids,
                        SaveIds(context->input(kSaveIds), files.size()));
    TF_ASSIGN_OR_RETURN(const std::vector<std::string> outputs,
                        StringVector("outputs", context->input(kOutputs)));
    TF_RETURN_IF_ERROR(
        CheckSize("outputs", outputs.size(),
                  static_cast<int64_t>(configs_.size()) * num_shards_,
                  "one per shard and table"));
    tensorflow::CancellationManager* const cancellation =
        context->cancellation_manager();
    const auto is_cancelled = [cancellation] {
      return cancellation != nullptr && cancellation->IsCancelled();
    };
    TF_ASSIGN_OR_RETURN(
        const ExportedTables exported,
        ExportTables(configs_, files, save_ids, num_shards_, outputs,
                     static_cast<size_t>(memory_bytes_), is_cancelled,
                     context->env()));
    Tensor* rows = nullptr;
    const auto num_outputs = static_cast<int64_t>(exported.rows.size());
    TF_RETURN_IF_ERROR(
        context->allocate_output(0, TensorShape({num_outputs}), &rows));
    std::copy(exported.rows.begin(), exported.rows.end(),
              rows->flat<int64_t>().data());
    Tensor* read = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(1, TensorShape({}), &read));
    read->scalar<int64_t>()() = exported.rows_read;
    return absl::OkStatus();
  }

 private:
  std::vector<TableConfig> configs_;
  int num_shards_ = 1;
  int64_t memory_bytes_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("MonolithCompactTables").Device(DEVICE_CPU),
                        CompactTablesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithLoadCompactTables").Device(DEVICE_CPU),
                        LoadCompactTablesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithCompactLookup").Device(DEVICE_CPU),
                        CompactLookupOp);
REGISTER_KERNEL_BUILDER(Name("MonolithCompactTableStats").Device(DEVICE_CPU),
                        CompactTableStatsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportTables").Device(DEVICE_CPU),
                        ExportTablesOp);

}  // namespace
}  // namespace monolith
