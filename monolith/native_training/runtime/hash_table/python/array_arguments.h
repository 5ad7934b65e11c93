#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "pybind11/numpy.h"
#include "pybind11/pybind11.h"

namespace monolith {

// NumPy arrays as the table takes and gives them: C order, native byte order,
// aligned. Nothing is copied. All functions need the interpreter's lock.
//
// Errors are Python exceptions that name the argument: TypeError for what is no
// array or has another dtype, ValueError for a wrong shape or layout.

// Views `array`, a T [n].
template <typename T>
absl::Span<const T> Vector(const char* name, const pybind11::object& array);

// Views `array`, a T [rows, columns].
template <typename T>
absl::Span<const T> Matrix(const char* name, const pybind11::object& array,
                           size_t rows, int columns);

// As Matrix, to write to: the array must allow it.
template <typename T>
absl::Span<T> WritableMatrix(const char* name, const pybind11::object& array,
                             size_t rows, int columns);

// An array that takes over the memory of `values`, which has as many elements
// as `shape` says.
template <typename T>
pybind11::array ToArray(std::vector<T> values,
                        std::vector<pybind11::ssize_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  pybind11::capsule owner(
      owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return pybind11::array_t<T>(std::move(shape), owned->data(), owner);
}

// Raises a status that is not OK: ValueError for InvalidArgument, MemoryError
// for ResourceExhausted, NotImplementedError for Unimplemented, else
// RuntimeError.
void RaiseIfError(const absl::Status& status);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_
