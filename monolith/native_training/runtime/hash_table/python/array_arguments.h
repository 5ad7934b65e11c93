#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "pybind11/numpy.h"
#include "pybind11/pybind11.h"

namespace monolith {

// NumPy arrays as the table takes them: C order, native byte order,
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

// Raises a status that is not OK: ValueError for InvalidArgument, MemoryError
// for ResourceExhausted, NotImplementedError for Unimplemented, else
// RuntimeError.
void RaiseIfError(const absl::Status& status);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PYTHON_ARRAY_ARGUMENTS_H_
