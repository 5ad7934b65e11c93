#include "monolith/native_training/runtime/ops/compact_tables/compact_table_set.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "monolith/native_training/runtime/ops/compact_tables/file_adapters.h"
#include "monolith/native_training/runtime/ops/table_files/storage.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

absl::StatusOr<std::unique_ptr<CompactTable>> LoadFile(const std::string& file,
                                                       tensorflow::Env* env) {
  absl::StatusOr<std::unique_ptr<FileSource>> source =
      FileSource::Open(env, file);
  if (!source.ok()) return StorageError(source.status());
  absl::StatusOr<std::unique_ptr<CompactTable>> table =
      CompactTable::Load(**source);
  if (table.ok()) return table;
  return absl::Status(
      StorageError(table.status()).code(),
      absl::StrCat("the exported table ", file,
                   " cannot be loaded: ", table.status().message()));
}

}  // namespace

absl::Status CompactTableSet::Load(absl::Span<const std::string> files,
                                   tensorflow::Env* env) {
  auto tables = std::make_shared<Tables>(names_.size());
  for (const std::string& file : files) {
    TF_ASSIGN_OR_RETURN(std::unique_ptr<CompactTable> table,
                        LoadFile(file, env));
    const std::string& name = table->config().name;
    const size_t t =
        std::find(names_.begin(), names_.end(), name) - names_.begin();
    if (t == names_.size() || (*tables)[t] != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the exported table ", file, " is that of ", name,
                       t == names_.size() ? ", which the model does not have"
                                          : ", as another file is"));
    }
    if (table->dim() != dims_[t]) {
      return absl::InvalidArgumentError(
          absl::StrCat("the exported table ", file, " has rows of dim ",
                       table->dim(), ", the model wants ", dims_[t]));
    }
    (*tables)[t] = std::move(table);
  }
  for (size_t t = 0; t < names_.size(); ++t) {
    if ((*tables)[t] != nullptr) continue;
    return absl::InvalidArgumentError(absl::StrCat("the exported files ",
                                                   absl::StrJoin(files, ", "),
                                                   " lack table ", names_[t]));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  tables_ = std::move(tables);
  return absl::OkStatus();
}

std::shared_ptr<const CompactTableSet::Tables> CompactTableSet::tables() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return tables_;
}

std::string CompactTableSet::DebugString() const {
  return absl::StrCat("Monolith's exported tables: ",
                      absl::StrJoin(names_, ", "));
}

int64_t CompactTableSet::MemoryUsed() const {
  const std::shared_ptr<const Tables> tables = this->tables();
  int64_t bytes = 0;
  if (tables == nullptr) return bytes;
  for (const auto& table : *tables) bytes += table->memory_bytes();
  return bytes;
}

}  // namespace monolith
