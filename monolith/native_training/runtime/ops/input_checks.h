// Reads an op's inputs, with an error that names the input and says what was
// got and what was wanted.
//
// The spans point into the tensors and live as long.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_INPUT_CHECKS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_INPUT_CHECKS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace monolith {

// REQUIRES: the tensor's type is int64, float or uint8, as the op's signature
// says.
absl::StatusOr<absl::Span<const int64_t>> Int64Vector(
    absl::string_view name, const tensorflow::Tensor& tensor);
absl::StatusOr<absl::Span<const float>> FloatVector(
    absl::string_view name, const tensorflow::Tensor& tensor);
absl::StatusOr<absl::Span<const uint8_t>> ByteVector(
    absl::string_view name, const tensorflow::Tensor& tensor);
// REQUIRES: the tensor's type is string.
absl::StatusOr<std::vector<std::string>> StringVector(
    absl::string_view name, const tensorflow::Tensor& tensor);
// The `save_ids` of `num_files` files: one of each, or none.
absl::StatusOr<std::vector<std::string>> SaveIds(
    const tensorflow::Tensor& tensor, size_t num_files);
absl::StatusOr<int64_t> Int64Scalar(absl::string_view name,
                                    const tensorflow::Tensor& tensor);

// A scalar number of seconds since the epoch, as tables keep it.
absl::StatusOr<uint32_t> TimeScalar(absl::string_view name,
                                    const tensorflow::Tensor& tensor);

absl::Status CheckShape(absl::string_view name,
                        const tensorflow::Tensor& tensor,
                        const tensorflow::TensorShape& wanted);

// `name` with `size` entries, `wanted` of them: "one per table" and the like.
absl::Status CheckSize(absl::string_view name, int64_t size, int64_t wanted,
                       absl::string_view why);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_INPUT_CHECKS_H_
