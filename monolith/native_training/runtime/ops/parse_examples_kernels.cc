#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/examples/example_parser.h"
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
using ::tensorflow::OpInputList;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

// What is worth a thread: some 2,000 examples of a few features, a quarter of a
// millisecond.
constexpr int64_t kBytesPerTask = 128 << 10;

// Examples that were not told yet.
using Tally = std::atomic<int64_t>;

// That of a number, the same for all kernels of the process: a dataset has
// other kernels each time it is read from the beginning. It stays until the
// process ends, as who counts may read on at any time.
std::shared_ptr<Tally> TallyOf(int64_t number) {
  static auto* const mutex = new absl::Mutex;
  static auto* const tallies =
      new absl::flat_hash_map<int64_t, std::shared_ptr<Tally>>;
  absl::MutexLock lock(mutex);
  std::shared_ptr<Tally>& tally = (*tallies)[number];
  if (tally == nullptr) tally = std::make_shared<Tally>(0);
  return tally;
}

struct Bad {
  int64_t index;
  std::string reason;
};

// Examples that follow one another, parsed.
struct Part {
  std::vector<ExampleColumn> columns;
  std::vector<Bad> bad;
};

// REQUIRES: one of the types that the op's signature allows.
ValueType TypeOf(DataType type) {
  if (type == tensorflow::DT_INT64) return ValueType::kInt64;
  if (type == tensorflow::DT_FLOAT) return ValueType::kFloat;
  return ValueType::kBytes;
}

absl::string_view ViewOf(const tstring& string) {
  return absl::string_view(string.data(), string.size());
}

// The values of a tensor; strings point into it.
void CopyValues(const Tensor& tensor, FeatureValues& values) {
  const int64_t n = tensor.NumElements();
  if (auto* int64s = std::get_if<std::vector<int64_t>>(&values)) {
    int64s->assign(tensor.flat<int64_t>().data(),
                   tensor.flat<int64_t>().data() + n);
  } else if (auto* floats = std::get_if<std::vector<float>>(&values)) {
    floats->assign(tensor.flat<float>().data(),
                   tensor.flat<float>().data() + n);
  } else {
    for (int64_t i = 0; i < n; ++i) {
      std::get_if<std::vector<absl::string_view>>(&values)->push_back(
          ViewOf(tensor.flat<tstring>()(i)));
    }
  }
}

// Copies values into a tensor, from one of its elements on.
void CopyValues(const FeatureValues& values, int64_t begin, Tensor& tensor) {
  if (const auto* int64s = std::get_if<std::vector<int64_t>>(&values)) {
    std::copy(int64s->begin(), int64s->end(),
              tensor.flat<int64_t>().data() + begin);
  } else if (const auto* floats = std::get_if<std::vector<float>>(&values)) {
    std::copy(floats->begin(), floats->end(),
              tensor.flat<float>().data() + begin);
  } else {
    tstring* to = tensor.flat<tstring>().data() + begin;
    for (const absl::string_view value :
         *std::get_if<std::vector<absl::string_view>>(&values)) {
      (to++)->assign(value.data(), value.size());
    }
  }
}

int64_t NumValues(const ExampleColumn& column) {
  return column.ends.empty() ? 0 : column.ends.back();
}

// Where each example's values begin, and where the last one's end.
template <typename T>
void CopySplits(absl::Span<const Part> parts, int64_t feature, Tensor& splits) {
  T* to = splits.flat<T>().data();
  *to++ = 0;
  int64_t begin = 0;
  for (const Part& part : parts) {
    const ExampleColumn& column = part.columns[feature];
    for (const int64_t end : column.ends) {
      *to++ = static_cast<T>(begin + end);
    }
    begin += NumValues(column);
  }
}

class ParseExamplesOp : public tensorflow::OpKernel {
 public:
  explicit ParseExamplesOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, Init(context));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Init(OpKernelConstruction* context) {
    std::vector<std::string> ragged_names;
    std::vector<std::string> dense_names;
    std::vector<DataType> ragged_types;
    std::vector<DataType> dense_types;
    int64_t report_every_ms;
    int64_t tally;
    TF_RETURN_IF_ERROR(context->GetAttr("ragged_names", &ragged_names));
    TF_RETURN_IF_ERROR(context->GetAttr("ragged_types", &ragged_types));
    TF_RETURN_IF_ERROR(context->GetAttr("splits_types", &splits_types_));
    TF_RETURN_IF_ERROR(context->GetAttr("dense_names", &dense_names));
    TF_RETURN_IF_ERROR(context->GetAttr("dense_types", &dense_types));
    TF_RETURN_IF_ERROR(context->GetAttr("dense_shapes", &dense_shapes_));
    TF_RETURN_IF_ERROR(context->GetAttr("report_every_ms", &report_every_ms));
    TF_RETURN_IF_ERROR(context->GetAttr("tally", &tally));
    num_ragged_ = ragged_names.size();
    const int64_t num_dense = dense_names.size();
    TF_RETURN_IF_ERROR(CheckSize("ragged_types", ragged_types.size(),
                                 num_ragged_, "one per name"));
    TF_RETURN_IF_ERROR(CheckSize("splits_types", splits_types_.size(),
                                 num_ragged_, "one per name"));
    TF_RETURN_IF_ERROR(CheckSize("dense_types", dense_types.size(), num_dense,
                                 "one per name"));
    TF_RETURN_IF_ERROR(CheckSize("dense_shapes", dense_shapes_.size(),
                                 num_dense, "one per name"));
    std::vector<FeatureSpec> specs;
    for (int64_t i = 0; i < num_ragged_; ++i) {
      specs.push_back({ragged_names[i], TypeOf(ragged_types[i])});
    }
    for (int64_t i = 0; i < num_dense; ++i) {
      if (!dense_shapes_[i].IsFullyDefined()) {
        return absl::InvalidArgumentError(
            absl::StrCat("dense_shapes[", i, "] must be known, got ",
                         dense_shapes_[i].DebugString()));
      }
      specs.push_back({dense_names[i], TypeOf(dense_types[i]),
                       dense_shapes_[i].num_elements()});
    }
    TF_ASSIGN_OR_RETURN(ExampleParser parser,
                        ExampleParser::Create(std::move(specs)));
    parser_ = std::make_unique<ExampleParser>(std::move(parser));
    report_every_ = std::chrono::milliseconds(report_every_ms);
    tally_ = tally == 0 ? std::make_shared<Tally>(0) : TallyOf(tally);
    return absl::OkStatus();
  }

  absl::Status Run(OpKernelContext* context) {
    const Tensor& serialized = context->input(0);
    if (serialized.dims() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("serialized must be a vector (rank 1), got rank ",
                       serialized.dims()));
    }
    OpInputList columns;
    TF_RETURN_IF_ERROR(context->input_list("columns", &columns));
    for (int i = 0; i < columns.size(); ++i) {
      TF_RETURN_IF_ERROR(CheckShape(absl::StrCat("columns[", i, "]"),
                                    columns[i], serialized.shape()));
    }
    TF_ASSIGN_OR_RETURN(const std::vector<FeatureValues> defaults,
                        Defaults(context));
    std::vector<Part> parts = Parse(serialized, defaults, context);
    std::vector<Bad> bad;
    for (Part& part : parts) {
      std::move(part.bad.begin(), part.bad.end(), std::back_inserter(bad));
    }
    const auto num_bad = static_cast<int64_t>(bad.size());
    TF_RETURN_IF_ERROR(
        SetFeatures(parts, serialized.NumElements() - num_bad, context));
    TF_RETURN_IF_ERROR(SetColumns(columns, bad, context));
    return SetBad(bad, serialized.NumElements(), context);
  }

  absl::StatusOr<std::vector<FeatureValues>> Defaults(
      OpKernelContext* context) const {
    OpInputList tensors;
    TF_RETURN_IF_ERROR(context->input_list("defaults", &tensors));
    std::vector<FeatureValues> defaults = parser_->EmptyValues();
    for (int i = 0; i < tensors.size(); ++i) {
      const Tensor& tensor = tensors[i];
      if (tensor.NumElements() == 0) continue;
      TensorShape wanted;
      dense_shapes_[i].AsTensorShape(&wanted);
      TF_RETURN_IF_ERROR(
          CheckShape(absl::StrCat("defaults[", i, "]"), tensor, wanted));
      CopyValues(tensor, defaults[num_ragged_ + i]);
    }
    return defaults;
  }

  std::vector<Part> Parse(const Tensor& serialized,
                          absl::Span<const FeatureValues> defaults,
                          OpKernelContext* context) const {
    const auto messages = serialized.vec<tstring>();
    const int64_t n = messages.size();
    int64_t bytes = 0;
    for (int64_t i = 0; i < n; ++i) bytes += messages(i).size();
    const int64_t num_parts =
        std::clamp<int64_t>(bytes / kBytesPerTask, 1, std::max<int64_t>(n, 1));
    std::vector<Part> parts(num_parts);
    WorkerExecutor executor(context);
    executor.ParallelFor(num_parts, [&](int64_t part) {
      const int64_t begin = part * n / num_parts;
      const int64_t end = (part + 1) * n / num_parts;
      std::vector<ExampleColumn>& columns = parts[part].columns;
      columns = parser_->EmptyColumns();
      for (ExampleColumn& column : columns) column.ends.reserve(end - begin);
      for (int64_t i = begin; i < end; ++i) {
        const ExampleFault fault = parser_->Parse(ViewOf(messages(i)), defaults,
                                                  absl::MakeSpan(columns));
        if (fault.kind == ExampleFault::kNone) continue;
        parts[part].bad.push_back({i, parser_->Describe(fault)});
      }
    });
    return parts;
  }

  absl::Status SetFeatures(absl::Span<const Part> parts, int64_t num_good,
                           OpKernelContext* context) const {
    OpOutputList ragged_values;
    OpOutputList ragged_splits;
    OpOutputList dense_values;
    TF_RETURN_IF_ERROR(context->output_list("ragged_values", &ragged_values));
    TF_RETURN_IF_ERROR(context->output_list("ragged_splits", &ragged_splits));
    TF_RETURN_IF_ERROR(context->output_list("dense_values", &dense_values));
    for (int64_t i = 0; i < num_ragged_ + dense_values.size(); ++i) {
      int64_t num_values = 0;
      for (const Part& part : parts) num_values += NumValues(part.columns[i]);
      Tensor* values = nullptr;
      if (i < num_ragged_) {
        TF_RETURN_IF_ERROR(
            ragged_values.allocate(i, TensorShape({num_values}), &values));
        Tensor* splits = nullptr;
        TF_RETURN_IF_ERROR(
            ragged_splits.allocate(i, TensorShape({num_good + 1}), &splits));
        if (splits_types_[i] == tensorflow::DT_INT64) {
          CopySplits<int64_t>(parts, i, *splits);
        } else if (num_values <= std::numeric_limits<int32_t>::max()) {
          CopySplits<int32_t>(parts, i, *splits);
        } else {
          return absl::InvalidArgumentError(absl::StrCat(
              "ragged feature ", i, " has ", num_values, " values, more than ",
              "32 bits count; use row_splits_dtype=tf.int64, or smaller "
              "batches"));
        }
      } else {
        const int64_t dense = i - num_ragged_;
        TensorShape shape;
        dense_shapes_[dense].AsTensorShape(&shape);
        shape.InsertDim(0, num_good);
        TF_RETURN_IF_ERROR(dense_values.allocate(dense, shape, &values));
      }
      int64_t begin = 0;
      for (const Part& part : parts) {
        CopyValues(part.columns[i].values, begin, *values);
        begin += NumValues(part.columns[i]);
      }
    }
    return absl::OkStatus();
  }

  // Those of the good ones; they are copied only if there are others.
  static absl::Status SetColumns(const OpInputList& columns,
                                 absl::Span<const Bad> bad,
                                 OpKernelContext* context) {
    OpOutputList good_columns;
    TF_RETURN_IF_ERROR(context->output_list("good_columns", &good_columns));
    for (int i = 0; i < columns.size(); ++i) {
      if (bad.empty()) {
        good_columns.set(i, columns[i]);
        continue;
      }
      const auto from = columns[i].vec<int64_t>();
      Tensor* good = nullptr;
      TF_RETURN_IF_ERROR(good_columns.allocate(
          i, TensorShape({from.size() - static_cast<int64_t>(bad.size())}),
          &good));
      auto to = good->vec<int64_t>();
      auto next_bad = bad.begin();
      for (int64_t j = 0, at = 0; j < from.size(); ++j) {
        if (next_bad != bad.end() && next_bad->index == j) {
          ++next_bad;
        } else {
          to(at++) = from(j);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetBad(absl::Span<const Bad> bad, int64_t num_examples,
                      OpKernelContext* context) {
    Tensor* indexes = nullptr;
    Tensor* reasons = nullptr;
    Tensor* num_seen = nullptr;
    const TensorShape shape({static_cast<int64_t>(bad.size())});
    TF_RETURN_IF_ERROR(context->allocate_output("bad", shape, &indexes));
    TF_RETURN_IF_ERROR(context->allocate_output("reasons", shape, &reasons));
    TF_RETURN_IF_ERROR(
        context->allocate_output("num_seen", TensorShape({}), &num_seen));
    for (size_t i = 0; i < bad.size(); ++i) {
      indexes->vec<int64_t>()(i) = bad[i].index;
      reasons->vec<tstring>()(i) = bad[i].reason;
    }
    num_seen->scalar<int64_t>()() = Count(num_examples, !bad.empty());
    return absl::OkStatus();
  }

  // Returns how many examples have not been told, these included, or 0 to tell
  // them later: unless told to do so now, the kernel tells at first, and when
  // the time for it has come. Every example is told once.
  int64_t Count(int64_t num_examples, bool tell_now) {
    const auto now = Clock::now().time_since_epoch();
    if (!tell_now && now < next_report_.load(std::memory_order_relaxed)) {
      tally_->fetch_add(num_examples, std::memory_order_relaxed);
      return 0;
    }
    next_report_.store(now + report_every_, std::memory_order_relaxed);
    // Who tells has its own examples left to tell, whoever else does meanwhile.
    return num_examples + tally_->exchange(0, std::memory_order_relaxed);
  }

  using Clock = std::chrono::steady_clock;

  // The ragged features come first.
  std::unique_ptr<const ExampleParser> parser_;
  int64_t num_ragged_ = 0;
  std::vector<DataType> splits_types_;
  std::vector<tensorflow::PartialTensorShape> dense_shapes_;
  Clock::duration report_every_{};
  std::atomic<Clock::duration> next_report_{Clock::duration::min()};
  std::shared_ptr<Tally> tally_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithParseExamples").Device(DEVICE_CPU),
                        ParseExamplesOp);

}  // namespace
}  // namespace monolith
