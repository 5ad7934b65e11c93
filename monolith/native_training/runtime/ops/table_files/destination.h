// Where the rows of a table file go: the tables of a model that are to have
// them.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_DESTINATION_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_DESTINATION_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/saved_files.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"

namespace monolith {

// What becomes of one table of a file.
struct Destination {
  int table_index;  // in the set
  EmbeddingHashTable* table;
  RowConversion conversion;
};

// One per table of the file; none for a table that the model does not have.
using Destinations = std::vector<std::optional<Destination>>;

// By names. InvalidArgument as of RowConversion::Create, with the file.
absl::StatusOr<Destinations> FindDestinations(const TableSet& tables,
                                              const SavedFile& file,
                                              MustFit must_fit);

// Rows as a table wants them.
struct ConvertedRows {
  std::vector<float> embeddings;  // (n, dim)
  std::vector<float> states;      // (n, state_dim)
};

absl::StatusOr<ConvertedRows> Convert(const Destination& destination,
                                      const EmbeddingHashTable::RowBatch& rows);

// Whether the table would take these.
absl::Status CheckRows(const std::optional<Destination>& destination,
                       const EmbeddingHashTable::RowBatch& rows);
absl::Status CheckTrials(const std::optional<Destination>& destination,
                         const TrialBlock& trials);

// The error where all rows are of tables that the model does not have.
absl::Status AnotherModel(const TableSet& tables,
                          const std::vector<SavedFiles>& saves);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_DESTINATION_H_
