// Turns rows as a file has them into rows as a table wants them.
//
// Segments are matched by name, so both may have segments the other lacks, in
// any order. Immutable once made.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_ROW_CONVERSION_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_ROW_CONVERSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {

// What of a table in a file has to fit the model's.
enum class MustFit {
  // The file has every segment of the model, of the same dim.
  kEverySegment,
  // Segments that both have are of the same dim. One that the file lacks begins
  // with initial values, and one that the model lacks is left out.
  kSharedSegments,
  // A segment of another dim begins with initial values too, and where the file
  // has none of the same dim nothing of the table is taken.
  kNothing,
};

class RowConversion {
 public:
  using RowBatch = EmbeddingHashTable::RowBatch;

  // Rows of a file as rows of `to`.
  // InvalidArgument naming table and segment if what must fit does not.
  static absl::StatusOr<RowConversion> Create(
      const TableFileHeader::Table& from, const EmbeddingHashTable& to,
      MustFit must_fit);

  // What begins anew and, with kSharedSegments, what is left out: sentences to
  // log.
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Some embeddings come from no file: `embeddings` of Convert must hold
  // initial values.
  bool needs_initial_values() const { return needs_initial_values_; }

  // False where a table with kNothing gets none of the rows, nor their trials.
  bool takes_rows() const { return takes_rows_; }

  // Rows of the file are rows of the table as they are.
  bool is_identity() const { return is_identity_; }

  // Converts all rows. InvalidArgument if they are not as wide as the file's.
  absl::Status Convert(
      const RowBatch& from,
      absl::Span<float> embeddings,     // (n, dim of `to`)
      absl::Span<float> states) const;  // (n, state_dim of `to`)

 private:
  // A range of floats that a row of the file and one of the table share.
  struct Range {
    int from;
    int to;
    int size;
  };

  RowConversion() = default;

  int from_dim_ = 0;
  int from_state_dim_ = 0;
  int to_dim_ = 0;
  std::vector<Range> embeddings_;
  std::vector<Range> states_;
  std::vector<float> initial_state_;  // of a whole row
  bool takes_rows_ = true;
  bool needs_initial_values_ = false;
  bool is_identity_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_ROW_CONVERSION_H_
