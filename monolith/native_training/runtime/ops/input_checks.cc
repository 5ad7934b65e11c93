#include "monolith/native_training/runtime/ops/input_checks.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/tstring.h"

namespace monolith {
namespace {

using ::tensorflow::Tensor;

template <typename T>
absl::StatusOr<absl::Span<const T>> Vector(absl::string_view name,
                                           const Tensor& tensor) {
  if (tensor.dims() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must be a vector (rank 1), got rank ",
                     tensor.dims(), ", shape ", tensor.shape().DebugString()));
  }
  const auto flat = tensor.flat<T>();
  return absl::MakeConstSpan(flat.data(), flat.size());
}

}  // namespace

absl::StatusOr<absl::Span<const int64_t>> Int64Vector(absl::string_view name,
                                                      const Tensor& tensor) {
  return Vector<int64_t>(name, tensor);
}

absl::StatusOr<absl::Span<const float>> FloatVector(absl::string_view name,
                                                    const Tensor& tensor) {
  return Vector<float>(name, tensor);
}

absl::StatusOr<absl::Span<const uint8_t>> ByteVector(absl::string_view name,
                                                     const Tensor& tensor) {
  return Vector<uint8_t>(name, tensor);
}

absl::StatusOr<std::vector<std::string>> StringVector(absl::string_view name,
                                                      const Tensor& tensor) {
  const absl::Status is_vector =
      CheckShape(name, tensor, tensorflow::TensorShape({tensor.NumElements()}));
  if (!is_vector.ok()) return is_vector;
  const auto flat = tensor.flat<tensorflow::tstring>();
  return std::vector<std::string>(flat.data(), flat.data() + flat.size());
}

absl::StatusOr<std::vector<std::string>> SaveIds(const Tensor& tensor,
                                                 size_t num_files) {
  absl::StatusOr<std::vector<std::string>> ids =
      StringVector("save_ids", tensor);
  if (!ids.ok() || ids->empty()) return ids;
  const absl::Status one_of_each =
      CheckSize("save_ids", ids->size(), num_files, "one per file, or none");
  if (!one_of_each.ok()) return one_of_each;
  return ids;
}

absl::StatusOr<int64_t> Int64Scalar(absl::string_view name,
                                    const Tensor& tensor) {
  if (tensor.dims() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " must be a scalar, got shape ", tensor.shape().DebugString()));
  }
  return tensor.scalar<int64_t>()();
}

absl::StatusOr<uint32_t> TimeScalar(absl::string_view name,
                                    const Tensor& tensor) {
  absl::StatusOr<int64_t> seconds = Int64Scalar(name, tensor);
  if (!seconds.ok()) return seconds.status();
  if (*seconds < 0 || *seconds > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must be in seconds since the epoch, 0 .. ",
                     std::numeric_limits<uint32_t>::max(), ", got ", *seconds));
  }
  return static_cast<uint32_t>(*seconds);
}

absl::Status CheckShape(absl::string_view name, const Tensor& tensor,
                        const tensorflow::TensorShape& wanted) {
  if (tensor.shape() == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has the wrong shape: got ", tensor.shape().DebugString(),
      ", wanted ", wanted.DebugString()));
}

absl::Status CheckSize(absl::string_view name, int64_t size, int64_t wanted,
                       absl::string_view why) {
  if (size == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has the wrong size: got ", size, ", wanted ", wanted, ", ", why));
}

}  // namespace monolith
