#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/id_sharder.h"
#include "monolith/native_training/runtime/batch/row_splits.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
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

class ShardIdsOp : public tensorflow::OpKernel {
 public:
  explicit ShardIdsOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_features", &num_features_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("num_shards", &options_.num_shards));
    OP_REQUIRES_OK(context, context->GetAttr("table_of_feature",
                                             &options_.table_of_feature));
    OP_REQUIRES_OK(context,
                   context->GetAttr("table_dims", &options_.table_dims));
    OP_REQUIRES_OK(context, context->GetAttr("feature_names", &feature_names_));
    OP_REQUIRES_OK(
        context, context->GetAttr("counted_tables", &options_.counted_tables));
    OP_REQUIRES_OK(
        context, CheckSize("table_of_feature", options_.table_of_feature.size(),
                           num_features_, "one per feature"));
    OP_REQUIRES_OK(context, CheckSize("feature_names", feature_names_.size(),
                                      num_features_, "one per feature"));
    absl::StatusOr<IdSharder> sharder = IdSharder::Create(options_);
    OP_REQUIRES_OK(context, sharder.status());
    idle_.push_back(std::make_unique<IdSharder>(*std::move(sharder)));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) {
    absl::InlinedVector<absl::Span<const int64_t>, 16> ids(num_features_);
    int64_t num_ids = 0;
    for (int f = 0; f < num_features_; ++f) {
      TF_ASSIGN_OR_RETURN(
          ids[f], Int64Vector(absl::StrCat("ids of ", feature_names_[f]),
                              context->input(f)));
      const std::string splits_name =
          absl::StrCat("row_splits of ", feature_names_[f]);
      TF_ASSIGN_OR_RETURN(
          absl::Span<const int64_t> splits,
          Int64Vector(splits_name, context->input(num_features_ + f)));
      TF_RETURN_IF_ERROR(CheckRowSplits(splits_name, splits, ids[f].size()));
      num_ids += ids[f].size();
    }
    Tensor* index = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        options_.num_shards, TensorShape({num_ids}), &index));
    TF_ASSIGN_OR_RETURN(std::unique_ptr<IdSharder> sharder, TakeSharder());
    const absl::Status status = ShardInto(context, ids, index, *sharder);
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(sharder));
    return status;
  }

  absl::Status ShardInto(OpKernelContext* context,
                         absl::Span<const absl::Span<const int64_t>> ids,
                         Tensor* index, IdSharder& sharder) {
    WorkerExecutor executor(context);
    auto entries = index->flat<int64_t>();
    TF_RETURN_IF_ERROR(sharder.Shard(
        ids, executor, absl::MakeSpan(entries.data(), entries.size())));
    absl::InlinedVector<absl::Span<int64_t>, 16> requests(options_.num_shards);
    for (int s = 0; s < options_.num_shards; ++s) {
      Tensor* request = nullptr;
      TF_RETURN_IF_ERROR(context->allocate_output(
          s, TensorShape({sharder.RequestSize(s)}), &request));
      auto numbers = request->flat<int64_t>();
      requests[s] = absl::MakeSpan(numbers.data(), numbers.size());
    }
    sharder.WriteRequests(requests);
    return absl::OkStatus();
  }

  // Several steps may run at once; each has a sharder to itself, and their
  // memory is kept for later steps.
  absl::StatusOr<std::unique_ptr<IdSharder>> TakeSharder() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<IdSharder> sharder = std::move(idle_.back());
        idle_.pop_back();
        return sharder;
      }
    }
    TF_ASSIGN_OR_RETURN(IdSharder sharder, IdSharder::Create(options_));
    return std::make_unique<IdSharder>(std::move(sharder));
  }

  int num_features_ = 0;
  IdSharder::Options options_;
  std::vector<std::string> feature_names_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<IdSharder>> idle_;  // guarded by mutex_
};

REGISTER_KERNEL_BUILDER(Name("MonolithShardIds").Device(DEVICE_CPU),
                        ShardIdsOp);

}  // namespace
}  // namespace monolith
