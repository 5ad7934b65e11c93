#include "monolith/native_training/runtime/hash_table/python/array_arguments.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace monolith {
namespace {

namespace py = pybind11;

std::string Wanted(const py::dtype& dtype, const std::string& shape) {
  return absl::StrCat(", wanted ", std::string(py::str(dtype)), " ", shape);
}

[[noreturn]] void RaiseTypeError(const char* name, const std::string& got,
                                 const std::string& wanted) {
  throw py::type_error(absl::StrCat(name, ": got ", got, wanted));
}

[[noreturn]] void RaiseValueError(const char* name, const std::string& got,
                                  const std::string& wanted) {
  throw py::value_error(absl::StrCat(name, ": got ", got, wanted));
}

// The array in `object`, of the dtype, C-contiguous and aligned.
py::array CheckedArray(const char* name, const py::object& object,
                       const py::dtype& dtype, const std::string& shape) {
  const std::string wanted = Wanted(dtype, shape);
  if (!py::isinstance<py::array>(object)) {
    const py::object type = py::type::of(object).attr("__name__");
    RaiseTypeError(name, absl::StrCat("a ", std::string(py::str(type))),
                   absl::StrCat(wanted, ", a NumPy array"));
  }
  py::array array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(dtype)) {
    RaiseTypeError(name, std::string(py::str(array.dtype())), wanted);
  }
  constexpr int kLayout = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ |
                          py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & kLayout) != kLayout) {
    RaiseValueError(name, "an array that is not contiguous in C order",
                    absl::StrCat(wanted,
                                 " in one piece; numpy.ascontiguousarray "
                                 "makes a copy that is"));
  }
  return array;
}

std::string ShapeOf(const py::array& array) {
  return absl::StrCat("shape ",
                      std::string(py::str(py::object(array.attr("shape")))));
}

template <typename T>
py::array CheckedMatrix(const char* name, const py::object& object, size_t rows,
                        int columns) {
  const py::dtype dtype = py::dtype::of<T>();
  const std::string shape = absl::StrCat("[", rows, ", ", columns, "]");
  py::array array = CheckedArray(name, object, dtype, shape);
  if (array.ndim() != 2 || array.shape(0) != static_cast<py::ssize_t>(rows) ||
      array.shape(1) != columns) {
    RaiseValueError(name, ShapeOf(array), Wanted(dtype, shape));
  }
  return array;
}

}  // namespace

template <typename T>
absl::Span<const T> Vector(const char* name, const py::object& object) {
  const py::dtype dtype = py::dtype::of<T>();
  const py::array array = CheckedArray(name, object, dtype, "[n]");
  if (array.ndim() != 1) {
    RaiseValueError(name, ShapeOf(array), Wanted(dtype, "[n]"));
  }
  return {static_cast<const T*>(array.data()),
          static_cast<size_t>(array.size())};
}

template <typename T>
absl::Span<const T> Matrix(const char* name, const py::object& object,
                           size_t rows, int columns) {
  const py::array array = CheckedMatrix<T>(name, object, rows, columns);
  return {static_cast<const T*>(array.data()),
          static_cast<size_t>(array.size())};
}

template <typename T>
absl::Span<T> WritableMatrix(const char* name, const py::object& object,
                             size_t rows, int columns) {
  py::array array = CheckedMatrix<T>(name, object, rows, columns);
  if (!array.writeable()) {
    RaiseValueError(name, "an array that is read-only",
                    ", wanted one to write to");
  }
  return {static_cast<T*>(array.mutable_data()),
          static_cast<size_t>(array.size())};
}

template absl::Span<const int64_t> Vector(const char*, const py::object&);
template absl::Span<const uint32_t> Vector(const char*, const py::object&);
template absl::Span<const float> Vector(const char*, const py::object&);
template absl::Span<const float> Matrix(const char*, const py::object&, size_t,
                                        int);
template absl::Span<float> WritableMatrix(const char*, const py::object&,
                                          size_t, int);

void RaiseIfError(const absl::Status& status) {
  if (status.ok()) return;
  const std::string message(status.message());
  PyObject* type = PyExc_RuntimeError;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      type = PyExc_ValueError;
      break;
    case absl::StatusCode::kResourceExhausted:
      type = PyExc_MemoryError;
      break;
    case absl::StatusCode::kUnimplemented:
      type = PyExc_NotImplementedError;
      break;
    default:
      break;
  }
  PyErr_SetString(type, message.c_str());
  throw py::error_already_set();
}

}  // namespace monolith
