#include "monolith/native_training/runtime/ops/table_set/table_set.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "tensorflow/core/lib/core/refcount.h"

namespace monolith {

absl::StatusOr<TableSet*> TableSet::Create(
    const std::vector<TableConfig>& configs) {
  tensorflow::core::RefCountPtr<TableSet> set(new TableSet());
  for (const TableConfig& config : configs) {
    absl::StatusOr<std::unique_ptr<EmbeddingHashTable>> table =
        EmbeddingHashTable::Create(config);
    if (!table.ok()) return table.status();
    set->dims_.push_back((*table)->dim());
    set->tables_.push_back(*std::move(table));
  }
  return set.release();
}

std::vector<TableConfig> TableSet::configs() const {
  std::vector<TableConfig> configs;
  for (const auto& table : tables_) configs.push_back(table->config());
  return configs;
}

absl::StatusOr<std::unique_lock<std::mutex>> TableSet::BeginSave(
    const std::string& base) {
  std::unique_lock<std::mutex> lock(save_mutex_);
  if (!base.empty() && base != last_save_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the changes since save ", base, " are not known: the last save is ",
        last_save_.empty() ? "none" : last_save_,
        "; a save of everything has to come first"));
  }
  last_save_.clear();
  return lock;
}

void TableSet::ForgetLastSave() {
  std::lock_guard<std::mutex> lock(save_mutex_);
  last_save_.clear();
}

std::string TableSet::DebugString() const {
  std::string text = "Monolith tables:";
  for (const auto& table : tables_) {
    absl::StrAppend(&text, " ", table->config().name, " (dim ", table->dim(),
                    ", ", table->size(), " rows)");
  }
  return text;
}

int64_t TableSet::MemoryUsed() const {
  int64_t bytes = 0;
  for (const auto& table : tables_) bytes += table->memory_bytes();
  return bytes;
}

}  // namespace monolith
