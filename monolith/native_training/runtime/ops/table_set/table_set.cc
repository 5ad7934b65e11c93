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

void TableSet::Clear() {
  for (const auto& table : tables_) table->Clear();
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
