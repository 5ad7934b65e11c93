#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/table_set/table_request.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_set_kernel.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using UpdateOptions = EmbeddingHashTable::UpdateOptions;
using OptionsOfTables = absl::InlinedVector<UpdateOptions, 8>;

class UpdateOp : public TableSetKernel {
 public:
  explicit UpdateOp(OpKernelConstruction* context) : TableSetKernel(context) {
    OP_REQUIRES_OK(context,
                   context->GetAttr("ids_are_unique", &ids_are_unique_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSet& tables) override {
    TF_ASSIGN_OR_RETURN(const TableRequest request,
                        ParseTableRequest(tables, context->input(kRequest)));
    TF_ASSIGN_OR_RETURN(const absl::Span<const float> gradients,
                        FloatVector("gradients", context->input(kGradients)));
    TF_RETURN_IF_ERROR(CheckSize("gradients", gradients.size(),
                                 request.value_size,
                                 "the sum over tables of ids * dim"));
    TF_ASSIGN_OR_RETURN(OptionsOfTables options, ReadOptions(context, tables));
    const auto gradients_of = [&](const TableRequest::Part& part) {
      return gradients.subspan(part.value_begin, part.value_size);
    };
    std::vector<std::vector<uint16_t>> occurrences(options.size());
    for (size_t t = 0; t < options.size(); ++t) {
      const TableRequest::Part& part = request.parts[t];
      if (part.occurrences.empty()) continue;
      occurrences[t].resize(part.ids.size());
      UnpackOccurrences(part.occurrences, absl::MakeSpan(occurrences[t]));
      options[t].occurrences = occurrences[t];
    }
    WorkerExecutor executor(context);
    // All must be good before the first is changed.
    TF_RETURN_IF_ERROR(ForEachPart(
        request, executor, [&](size_t t, const TableRequest::Part& part) {
          return part.table->ValidateGradients(part.ids, gradients_of(part),
                                               options[t], executor);
        }));
    return ForEachPart(
        request, executor, [&](size_t t, const TableRequest::Part& part) {
          options[t].validated = true;
          return part.table->ApplyGradients(part.ids, gradients_of(part),
                                            options[t], executor);
        });
  }

 private:
  enum Inputs {
    kHandle,
    kRequest,
    kGradients,
    kLearningRates,
    kUpdateTime,
    kGlobalStep
  };

  absl::StatusOr<OptionsOfTables> ReadOptions(OpKernelContext* context,
                                              const TableSet& tables) const {
    UpdateOptions common;
    common.ids_are_unique = ids_are_unique_;
    TF_ASSIGN_OR_RETURN(common.update_time,
                        TimeScalar("update_time", context->input(kUpdateTime)));
    TF_ASSIGN_OR_RETURN(
        common.global_step,
        Int64Scalar("global_step", context->input(kGlobalStep)));
    if (common.global_step < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "global_step must be 0 or more, got ", common.global_step));
    }
    TF_ASSIGN_OR_RETURN(
        const absl::Span<const float> rates,
        FloatVector("learning_rates", context->input(kLearningRates)));
    int64_t num_segments = 0;
    for (int t = 0; t < tables.num_tables(); ++t) {
      num_segments += tables.table(t).num_segments();
    }
    if (!rates.empty()) {
      TF_RETURN_IF_ERROR(CheckSize("learning_rates", rates.size(), num_segments,
                                   "one per segment of every table, or none"));
    }
    OptionsOfTables options(tables.num_tables(), common);
    if (rates.empty()) return options;
    int64_t begin = 0;
    for (int t = 0; t < tables.num_tables(); ++t) {
      const int segments = tables.table(t).num_segments();
      options[t].learning_rates = rates.subspan(begin, segments);
      begin += segments;
    }
    return options;
  }

  bool ids_are_unique_ = false;
};

REGISTER_KERNEL_BUILDER(Name("MonolithUpdate").Device(DEVICE_CPU), UpdateOp);

}  // namespace
}  // namespace monolith
