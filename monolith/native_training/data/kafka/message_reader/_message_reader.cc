// The module `_message_reader`: MessageReader for Python. Its documentation for
// users is message_reader.py.

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "monolith/native_training/data/kafka/message_reader/message_reader.h"
#include "pybind11/numpy.h"
#include "pybind11/pybind11.h"
#include "pybind11/stl.h"

namespace monolith {
namespace {

namespace py = pybind11;

// A vector [n] that takes over the memory of `values`.
template <typename T>
py::array ToArray(std::vector<T> values) {
  auto* owned = new std::vector<T>(std::move(values));
  py::capsule owner(owned,
                    [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(owned->size(), owned->data(), owner);
}

// Runs `call`, which touches no Python object, without the interpreter's lock.
//
// Where Python is ending, a thread that wants the lock back is ended there, by
// unwinding its stack: no destructor may be what takes the lock, as that of
// py::gil_scoped_release is.
template <typename Call>
void Unlocked(Call call) {
  std::exception_ptr error;
  PyThreadState* const thread = PyEval_SaveThread();
  try {
    call();
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  PyEval_RestoreThread(thread);
  if (error) std::rethrow_exception(error);
}

py::tuple Read(MessageReader& reader, size_t most, int timeout_ms) {
  ReadMessages read;
  Unlocked([&] { read = reader.Read(most, timeout_ms); });
  py::list events;
  for (const ReadEvent& each : read.events) {
    // Brokers' texts need not be UTF-8.
    const py::str text = py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
        each.text.data(), each.text.size(), "backslashreplace"));
    events.append(py::make_tuple(each.code, text, each.topic, each.partition,
                                 each.offset));
  }
  return py::make_tuple(
      ToArray(std::move(read.values)), ToArray(std::move(read.begin)),
      ToArray(std::move(read.end)), read.topics,
      ToArray(std::move(read.topic_index)), ToArray(std::move(read.partition)),
      ToArray(std::move(read.offset)), ToArray(std::move(read.timestamp)),
      events);
}

PYBIND11_MODULE(_message_reader, module) {
  py::class_<MessageReader, std::shared_ptr<MessageReader>>(module,
                                                            "MessageReader")
      .def(py::init(&MessageReader::Create))
      .def_property_readonly("id", &MessageReader::id)
      .def("claim", &MessageReader::Claim)
      .def("read", &Read)
      .def("detach",
           [](MessageReader& reader) { Unlocked([&] { reader.Detach(); }); });
}

}  // namespace
}  // namespace monolith
