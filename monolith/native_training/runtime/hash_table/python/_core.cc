// The module `_core`: EmbeddingHashTable over NumPy arrays. Its documentation
// for users is embedding_table.py.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/python/array_arguments.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/python/owned_array.h"
#include "monolith/native_training/runtime/python/unlocked_call.h"
#include "pybind11/numpy.h"
#include "pybind11/pybind11.h"
#include "pybind11/stl.h"

namespace monolith {
namespace {

namespace py = pybind11;

// Runs `call`, which touches no Python object, without the interpreter's lock;
// raises if it fails. The caller's arguments keep the arrays alive.
template <typename Call>
void Unlocked(Call call) {
  absl::Status status;
  CallUnlocked([&] { status = call(); });
  RaiseIfError(status);
}

class Table {
 public:
  Table(const std::string& config_json, int num_threads)
      : executor_(num_threads) {
    auto config = ParseTableConfig(config_json);
    RaiseIfError(config.status());
    auto table = EmbeddingHashTable::Create(*std::move(config));
    RaiseIfError(table.status());
    table_ = *std::move(table);
  }

  void Lookup(const py::object& ids_array, bool zero_missing,
              const py::object& out) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    const auto values =
        WritableMatrix<float>("out", out, ids.size(), table_->dim());
    const auto missing = zero_missing
                             ? EmbeddingHashTable::MissingId::kZero
                             : EmbeddingHashTable::MissingId::kInitialValue;
    Unlocked([&] { return table_->Lookup(ids, missing, values, executor_); });
  }

  void Assign(const py::object& ids_array, const py::object& values_array,
              uint32_t update_time) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    const auto values =
        Matrix<float>("values", values_array, ids.size(), table_->dim());
    Unlocked(
        [&] { return table_->Assign(ids, values, update_time, executor_); });
  }

  void AssignAdd(const py::object& ids_array, const py::object& values_array,
                 uint32_t update_time) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    const auto values =
        Matrix<float>("values", values_array, ids.size(), table_->dim());
    Unlocked(
        [&] { return table_->AssignAdd(ids, values, update_time, executor_); });
  }

  void ApplyGradients(const py::object& ids_array,
                      const py::object& gradients_array,
                      const std::vector<float>& learning_rates,
                      uint32_t update_time, int64_t global_step) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    const auto gradients =
        Matrix<float>("grads", gradients_array, ids.size(), table_->dim());
    EmbeddingHashTable::UpdateOptions options;
    options.learning_rates = learning_rates;
    options.update_time = update_time;
    options.global_step = global_step;
    Unlocked([&] {
      return table_->ApplyGradients(ids, gradients, options, executor_);
    });
  }

  int64_t Erase(const py::object& ids_array) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    int64_t erased = 0;
    Unlocked([&] {
      const auto result = table_->Erase(ids, executor_);
      if (result.ok()) erased = *result;
      return result.status();
    });
    return erased;
  }

  int64_t Evict(uint32_t now) {
    py::gil_scoped_release release;
    return table_->Evict(now, executor_);
  }

  void Clear() {
    py::gil_scoped_release release;
    table_->Clear();
  }

  py::tuple ExportStripe(int stripe) const {
    EmbeddingHashTable::RowBatch rows;
    Unlocked([&] { return table_->ExportStripe(stripe, &rows); });
    const auto n = static_cast<py::ssize_t>(rows.ids.size());
    return py::make_tuple(
        ToArray(std::move(rows.ids), {n}),
        ToArray(std::move(rows.embeddings), {n, table_->dim()}),
        ToArray(std::move(rows.states), {n, table_->state_dim()}),
        ToArray(std::move(rows.update_times), {n}));
  }

  void ImportRows(const py::object& ids_array,
                  const py::object& embeddings_array,
                  const py::object& states_array,
                  const py::object& times_array) {
    const auto ids = Vector<int64_t>("ids", ids_array);
    const auto embeddings = Matrix<float>("embeddings", embeddings_array,
                                          ids.size(), table_->dim());
    const auto states =
        Matrix<float>("states", states_array, ids.size(), table_->state_dim());
    const auto times = Vector<uint32_t>("update_times", times_array);
    Unlocked([&] {
      return table_->ImportRows(ids, embeddings, states, times, executor_);
    });
  }

  const EmbeddingHashTable& table() const { return *table_; }
  std::string config_json() const { return ToJson(table_->config()); }

 private:
  ThreadPoolExecutor executor_;
  std::unique_ptr<EmbeddingHashTable> table_;
};

}  // namespace

PYBIND11_MODULE(_core, module) {
  py::class_<Table>(module, "Table")
      .def(py::init<const std::string&, int>(), py::arg("config_json"),
           py::arg("num_threads"))
      .def("lookup", &Table::Lookup)
      .def("assign", &Table::Assign)
      .def("assign_add", &Table::AssignAdd)
      .def("apply_gradients", &Table::ApplyGradients)
      .def("erase", &Table::Erase)
      .def("evict", &Table::Evict)
      .def("clear", &Table::Clear)
      .def("export_stripe", &Table::ExportStripe)
      .def("import_rows", &Table::ImportRows)
      .def("size", [](const Table& t) { return t.table().size(); })
      .def(
          "memory_bytes",
          [](const Table& t) { return t.table().memory_bytes(); },
          py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("dim",
                             [](const Table& t) { return t.table().dim(); })
      .def_property_readonly(
          "state_dim", [](const Table& t) { return t.table().state_dim(); })
      .def_property_readonly(
          "num_segments",
          [](const Table& t) { return t.table().num_segments(); })
      .def_property_readonly(
          "num_stripes", [](const Table& t) { return t.table().num_stripes(); })
      .def_property_readonly("config_json", &Table::config_json);
}

}  // namespace monolith
