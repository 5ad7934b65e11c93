// The module `_message_reader`: MessageReader for Python. Its documentation for
// users is message_reader.py.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "monolith/native_training/data/kafka/message_reader/message_reader.h"
#include "monolith/native_training/runtime/python/owned_array.h"
#include "monolith/native_training/runtime/python/unlocked_call.h"
#include "pybind11/pybind11.h"
#include "pybind11/stl.h"

namespace monolith {
namespace {

namespace py = pybind11;

py::tuple Read(MessageReader& reader, size_t most, int timeout_ms) {
  ReadMessages read;
  CallUnlocked([&] { read = reader.Read(most, timeout_ms); });
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
      .def("claim",
           [](MessageReader& reader, const std::string& topic,
              int32_t partition) {
             bool is_claimed = false;
             CallUnlocked([&] { is_claimed = reader.Claim(topic, partition); });
             return is_claimed;
           })
      .def("read", &Read)
      .def("detach", [](MessageReader& reader) {
        CallUnlocked([&] { reader.Detach(); });
      });
}

}  // namespace
}  // namespace monolith
