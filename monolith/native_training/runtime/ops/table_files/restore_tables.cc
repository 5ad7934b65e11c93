#include "monolith/native_training/runtime/ops/table_files/restore_tables.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using RowBatch = EmbeddingHashTable::RowBatch;

// What becomes of one table of a file.
struct Destination {
  EmbeddingHashTable* table;
  RowConversion conversion;
};

// One per table of the file; none for a table that the model does not have.
using Destinations = std::vector<std::optional<Destination>>;

absl::StatusOr<Destinations> FindDestinations(const TableSet& tables,
                                              const TableFileReader& reader) {
  Destinations destinations(reader.header().tables.size());
  for (size_t f = 0; f < destinations.size(); ++f) {
    const TableFileHeader::Table& from = reader.header().tables[f];
    for (int t = 0; t < tables.num_tables(); ++t) {
      EmbeddingHashTable& table = tables.table(t);
      if (table.config().name != from.config.name) continue;
      absl::StatusOr<RowConversion> conversion =
          RowConversion::Create(from, table.config());
      if (!conversion.ok()) {
        return absl::Status(conversion.status().code(),
                            absl::StrCat("table file ", reader.file(), ": ",
                                         conversion.status().message()));
      }
      destinations[f] = Destination{&table, *std::move(conversion)};
    }
  }
  return destinations;
}

// What the files hold, found before any table changes.
struct Contents {
  int64_t num_rows = 0;
  bool has_destination = false;       // Some table is one of the model's.
  std::set<std::string> table_names;  // In the files.
  std::set<std::string> warnings;     // What will be lost.
};

// Rows as a table wants them.
struct ConvertedRows {
  std::vector<float> embeddings;
  std::vector<float> states;
};

absl::StatusOr<ConvertedRows> Convert(const Destination& destination,
                                      const RowBatch& rows,
                                      Executor& executor) {
  const EmbeddingHashTable& table = *destination.table;
  ConvertedRows converted;
  converted.embeddings.resize(rows.ids.size() * table.dim());
  converted.states.resize(rows.ids.size() * table.state_dim());
  if (destination.conversion.needs_initial_values()) {
    TF_RETURN_IF_ERROR(
        table.Lookup(rows.ids, EmbeddingHashTable::MissingId::kInitialValue,
                     absl::MakeSpan(converted.embeddings), executor));
  }
  destination.conversion.Convert(rows, absl::MakeSpan(converted.embeddings),
                                 absl::MakeSpan(converted.states));
  return converted;
}

absl::Status CheckRows(const std::optional<Destination>& destination,
                       const RowBatch& rows, Executor& executor) {
  if (!destination.has_value()) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const ConvertedRows converted,
                      Convert(*destination, rows, executor));
  return destination->table->ValidateRows(rows.ids, converted.embeddings,
                                          converted.states, executor);
}

absl::Status CheckTrials(const std::optional<Destination>& destination,
                         const TrialBlock& trials) {
  if (!destination.has_value()) return absl::OkStatus();
  const auto num_stripes =
      static_cast<uint32_t>(destination->table->num_stripes());
  if (trials.stripe < num_stripes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "ids on trial are of stripe ", trials.stripe, " of table ",
      destination->table->config().name, ", which has ", num_stripes));
}

// Reads all of a file.
absl::Status CheckFile(const TableSet& tables, tensorflow::Env* env,
                       const std::string& file, Executor& executor,
                       Contents* contents) {
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                      TableFileReader::Open(env, file));
  TF_ASSIGN_OR_RETURN(const Destinations destinations,
                      FindDestinations(tables, *reader));
  for (size_t f = 0; f < destinations.size(); ++f) {
    contents->table_names.insert(reader->header().tables[f].config.name);
    if (!destinations[f].has_value()) continue;
    contents->has_destination = true;
    const auto& lost = destinations[f]->conversion.warnings();
    contents->warnings.insert(lost.begin(), lost.end());
  }
  for (;;) {
    TF_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block.has_value()) return absl::OkStatus();
    absl::Status valid;
    if (const auto* rows = std::get_if<RowBlock>(&*block)) {
      contents->num_rows += rows->rows.ids.size();
      valid = CheckRows(destinations[rows->table], rows->rows, executor);
    } else {
      const auto& trials = std::get<TrialBlock>(*block);
      valid = CheckTrials(destinations[trials.table], trials);
    }
    if (!valid.ok()) return reader->Damaged(valid.message());
  }
}

// Rows of tables that the model no longer has are passed over; rows of none but
// such tables are another model's.
absl::Status CheckSomeTableIsKnown(const TableSet& tables,
                                   absl::Span<const std::string> files,
                                   const Contents& contents) {
  if (contents.num_rows == 0 || contents.has_destination) {
    return absl::OkStatus();
  }
  std::set<std::string> wanted;
  for (int t = 0; t < tables.num_tables(); ++t) {
    wanted.insert(tables.table(t).config().name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "table file ", files.front(), files.size() > 1 ? " and others" : "",
      ": got rows of ", absl::StrJoin(contents.table_names, ", "),
      ", wanted some of ", absl::StrJoin(wanted, ", "),
      "; nothing was restored"));
}

// Keeps the rows of one shard, in place.
void KeepShard(TableShard shard, int dim, int state_dim, RowBatch* rows) {
  size_t kept = 0;
  for (size_t row = 0; row < rows->ids.size(); ++row) {
    if (ShardOfId(rows->ids[row], shard.count) != shard.index) continue;
    if (kept != row) {
      rows->ids[kept] = rows->ids[row];
      std::copy_n(&rows->embeddings[row * dim], dim,
                  &rows->embeddings[kept * dim]);
      std::copy_n(rows->states.begin() + row * state_dim, state_dim,
                  rows->states.begin() + kept * state_dim);
      rows->update_times[kept] = rows->update_times[row];
    }
    ++kept;
  }
  rows->ids.resize(kept);
  rows->embeddings.resize(kept * dim);
  rows->states.resize(kept * state_dim);
  rows->update_times.resize(kept);
}

absl::Status ImportRows(const Destination& destination, const RowBatch& rows,
                        Executor& executor) {
  TF_ASSIGN_OR_RETURN(const ConvertedRows converted,
                      Convert(destination, rows, executor));
  return destination.table->ImportRows(rows.ids, converted.embeddings,
                                       converted.states, rows.update_times,
                                       executor);
}

// False if they were counted in a filter of another size.
absl::StatusOr<bool> ImportTrials(const Destination& destination,
                                  const TrialBlock& trials) {
  EmbeddingHashTable& table = *destination.table;
  if (table.config().occurrence_threshold == 0) return true;
  return table.ImportTrials(static_cast<int>(trials.stripe), trials.batch);
}

std::string LostTrials(const TableConfig& there, const TableConfig& wanted) {
  return absl::StrCat("table ", wanted.name, " was saved with an admission ",
                      "capacity of ", there.admission_capacity, ", now it is ",
                      wanted.admission_capacity,
                      ": its ids without a row are counted from 0 again");
}

bool TakesTrials(TableShard shard, TableShard of_file) {
  return of_file.count != shard.count || of_file.index == shard.index;
}

// Below ERROR nothing is shown by default (monolith/__init__.py).
void Warn(const std::set<std::string>& warnings) {
  for (const std::string& warning : warnings) LOG(ERROR) << warning;
}

}  // namespace

absl::StatusOr<int64_t> RestoreTables(TableSet& tables,
                                      absl::Span<const std::string> files,
                                      TableShard shard, bool with_trials,
                                      tensorflow::Env* env,
                                      Executor& executor) {
  Contents contents;
  for (const std::string& file : files) {
    TF_RETURN_IF_ERROR(CheckFile(tables, env, file, executor, &contents));
  }
  TF_RETURN_IF_ERROR(CheckSomeTableIsKnown(tables, files, contents));
  Warn(contents.warnings);
  for (int t = 0; t < tables.num_tables(); ++t) tables.table(t).Clear();
  int64_t num_rows = 0;
  std::set<std::string> lost_trials;
  for (const std::string& file : files) {
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                        TableFileReader::Open(env, file));
    TF_ASSIGN_OR_RETURN(const Destinations destinations,
                        FindDestinations(tables, *reader));
    const TableFileHeader& header = reader->header();
    const bool takes_trials = with_trials && TakesTrials(shard, header.shard);
    for (;;) {
      TF_ASSIGN_OR_RETURN(auto block, reader->Next());
      if (!block.has_value()) break;
      if (auto* rows = std::get_if<RowBlock>(&*block)) {
        const auto& destination = destinations[rows->table];
        if (!destination.has_value()) continue;
        KeepShard(shard, rows->dim, rows->state_dim, &rows->rows);
        TF_RETURN_IF_ERROR(ImportRows(*destination, rows->rows, executor));
        num_rows += rows->rows.ids.size();
      } else {
        const auto& trials = std::get<TrialBlock>(*block);
        const auto& destination = destinations[trials.table];
        if (!destination.has_value() || !takes_trials) continue;
        TF_ASSIGN_OR_RETURN(const bool taken,
                            ImportTrials(*destination, trials));
        if (taken) continue;
        lost_trials.insert(LostTrials(header.tables[trials.table].config,
                                      destination->table->config()));
      }
    }
  }
  Warn(lost_trials);
  return num_rows;
}

}  // namespace monolith
