#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/examples/example_checker.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/worker_executor.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace monolith {
namespace {

using ::tensorflow::DataType;
using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

constexpr int64_t kPerTask = 4096;  // examples that are worth a thread

// Counts examples, and tells the number from time to time.
//
// Thread safety: thread-safe. Every example is told once.
class Tally {
 public:
  explicit Tally(std::chrono::milliseconds every) : every_(every) {}

  // Returns how many examples have not been told, these included, or 0 to tell
  // them later.
  int64_t Add(int64_t examples, bool tell_now) {
    const auto now = Clock::now().time_since_epoch();
    if (!tell_now && now < next_.load(std::memory_order_relaxed)) {
      untold_.fetch_add(examples, std::memory_order_relaxed);
      return 0;
    }
    next_.store(now + every_, std::memory_order_relaxed);
    // Who tells has its own examples left to tell, whoever else does meanwhile.
    return examples + untold_.exchange(0, std::memory_order_relaxed);
  }

 private:
  using Clock = std::chrono::steady_clock;

  const std::chrono::milliseconds every_;
  std::atomic<int64_t> untold_{0};
  std::atomic<Clock::duration> next_{Clock::duration::min()};
};

class CheckExamplesOp : public tensorflow::OpKernel {
 public:
  explicit CheckExamplesOp(OpKernelConstruction* context) : OpKernel(context) {
    std::vector<std::string> names;
    std::vector<DataType> types;
    std::vector<int64_t> lengths;
    std::vector<bool> required;
    int64_t report_every_ms;
    OP_REQUIRES_OK(context, context->GetAttr("names", &names));
    OP_REQUIRES_OK(context, context->GetAttr("types", &types));
    OP_REQUIRES_OK(context, context->GetAttr("lengths", &lengths));
    OP_REQUIRES_OK(context, context->GetAttr("required", &required));
    OP_REQUIRES_OK(context,
                   context->GetAttr("report_every_ms", &report_every_ms));
    const int64_t n = names.size();
    OP_REQUIRES_OK(context,
                   CheckSize("types", types.size(), n, "one per name"));
    OP_REQUIRES_OK(context,
                   CheckSize("lengths", lengths.size(), n, "one per name"));
    OP_REQUIRES_OK(context,
                   CheckSize("required", required.size(), n, "one per name"));
    std::vector<FeatureSpec> specs;
    for (int64_t i = 0; i < n; ++i) {
      specs.push_back({names[i], TypeOf(types[i]), lengths[i], required[i]});
    }
    absl::StatusOr<ExampleChecker> checker =
        ExampleChecker::Create(std::move(specs));
    OP_REQUIRES_OK(context, checker.status());
    checker_ = std::make_unique<ExampleChecker>(*std::move(checker));
    tally_ =
        std::make_unique<Tally>(std::chrono::milliseconds(report_every_ms));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  struct Bad {
    int64_t index;
    std::string reason;
  };

  // REQUIRES: one of the types that the op's signature allows.
  static ValueType TypeOf(DataType type) {
    if (type == tensorflow::DT_INT64) return ValueType::kInt64;
    if (type == tensorflow::DT_FLOAT) return ValueType::kFloat;
    return ValueType::kBytes;
  }

  absl::Status Run(OpKernelContext* context) {
    const Tensor& serialized = context->input(0);
    if (serialized.dims() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("serialized must be a vector (rank 1), got rank ",
                       serialized.dims()));
    }
    for (int i = 1; i < num_inputs(); ++i) {
      TF_RETURN_IF_ERROR(CheckShape(absl::StrCat("columns[", i - 1, "]"),
                                    context->input(i), serialized.shape()));
    }
    const int64_t n = serialized.NumElements();
    const std::vector<Bad> bad = FindBad(serialized, context);

    Tensor* indexes = nullptr;
    Tensor* reasons = nullptr;
    Tensor* num_seen = nullptr;
    const TensorShape num_bad({static_cast<int64_t>(bad.size())});
    const int after = num_inputs();
    TF_RETURN_IF_ERROR(context->allocate_output(after, num_bad, &indexes));
    TF_RETURN_IF_ERROR(context->allocate_output(after + 1, num_bad, &reasons));
    TF_RETURN_IF_ERROR(
        context->allocate_output(after + 2, TensorShape({}), &num_seen));
    for (size_t i = 0; i < bad.size(); ++i) {
      indexes->vec<int64_t>()(i) = bad[i].index;
      reasons->vec<tstring>()(i) = bad[i].reason;
    }
    num_seen->scalar<int64_t>()() = tally_->Add(n, !bad.empty());
    TF_RETURN_IF_ERROR(LeaveOut<tstring>(bad, 0, context));
    for (int i = 1; i < num_inputs(); ++i) {
      TF_RETURN_IF_ERROR(LeaveOut<int64_t>(bad, i, context));
    }
    return absl::OkStatus();
  }

  // In the order of their indexes.
  std::vector<Bad> FindBad(const Tensor& serialized,
                           OpKernelContext* context) const {
    const auto messages = serialized.vec<tstring>();
    const int64_t n = messages.size();
    const int64_t num_tasks = (n + kPerTask - 1) / kPerTask;
    std::vector<std::vector<Bad>> found(num_tasks);
    WorkerExecutor executor(context);
    executor.ParallelFor(num_tasks, [&](int64_t task) {
      const int64_t end = std::min(n, (task + 1) * kPerTask);
      for (int64_t i = task * kPerTask; i < end; ++i) {
        const ExampleFault fault = checker_->Check(
            absl::string_view(messages(i).data(), messages(i).size()));
        if (fault.kind == ExampleFault::kNone) continue;
        found[task].push_back({i, checker_->Describe(fault)});
      }
    });
    std::vector<Bad> bad;
    for (std::vector<Bad>& each : found) {
      std::move(each.begin(), each.end(), std::back_inserter(bad));
    }
    return bad;
  }

  // Sets output `i` to input `i` without the bad ones.
  template <typename T>
  static absl::Status LeaveOut(const std::vector<Bad>& bad, int i,
                               OpKernelContext* context) {
    const Tensor& all = context->input(i);
    if (bad.empty()) {
      context->set_output(i, all);
      return absl::OkStatus();
    }
    const auto num_bad = static_cast<int64_t>(bad.size());
    Tensor* good = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        i, TensorShape({all.NumElements() - num_bad}), &good));
    const auto from = all.vec<T>();
    auto to = good->vec<T>();
    auto next_bad = bad.begin();
    for (int64_t j = 0, at = 0; j < all.NumElements(); ++j) {
      if (next_bad != bad.end() && next_bad->index == j) {
        ++next_bad;
      } else {
        to(at++) = from(j);
      }
    }
    return absl::OkStatus();
  }

  std::unique_ptr<const ExampleChecker> checker_;
  std::unique_ptr<Tally> tally_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithCheckExamples").Device(DEVICE_CPU),
                        CheckExamplesOp);

}  // namespace
}  // namespace monolith
