#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_OWNED_ARRAY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_OWNED_ARRAY_H_

#include <utility>
#include <vector>

#include "pybind11/numpy.h"
#include "pybind11/pybind11.h"

namespace monolith {

// A NumPy array that takes over the memory of `values`, which has as many
// elements as `shape` says. Needs the interpreter's lock.
template <typename T>
pybind11::array ToArray(std::vector<T> values,
                        std::vector<pybind11::ssize_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  pybind11::capsule owner(
      owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return pybind11::array_t<T>(std::move(shape), owned->data(), owner);
}

// The same of rank 1.
template <typename T>
pybind11::array ToArray(std::vector<T> values) {
  const auto size = static_cast<pybind11::ssize_t>(values.size());
  return ToArray(std::move(values), {size});
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_OWNED_ARRAY_H_
