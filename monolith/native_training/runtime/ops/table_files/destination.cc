#include "monolith/native_training/runtime/ops/table_files/destination.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {

using RowBatch = EmbeddingHashTable::RowBatch;

absl::StatusOr<Destinations> FindDestinations(const TableSet& tables,
                                              const SavedFile& file,
                                              MustFit must_fit) {
  Destinations destinations(file.header.tables.size());
  for (size_t f = 0; f < destinations.size(); ++f) {
    const TableFileHeader::Table& from = file.header.tables[f];
    for (int t = 0; t < tables.num_tables(); ++t) {
      EmbeddingHashTable& table = tables.table(t);
      if (table.config().name != from.config.name) continue;
      absl::StatusOr<RowConversion> conversion =
          RowConversion::Create(from, table, must_fit);
      if (!conversion.ok()) {
        return absl::Status(conversion.status().code(),
                            absl::StrCat("table file ", file.name, ": ",
                                         conversion.status().message()));
      }
      destinations[f] = Destination{t, &table, *std::move(conversion)};
    }
  }
  return destinations;
}

absl::StatusOr<ConvertedRows> Convert(const Destination& destination,
                                      const RowBatch& rows) {
  const EmbeddingHashTable& table = *destination.table;
  ConvertedRows converted;
  converted.embeddings.resize(rows.ids.size() * table.dim());
  converted.states.resize(rows.ids.size() * table.state_dim());
  if (destination.conversion.needs_initial_values()) {
    TF_RETURN_IF_ERROR(
        table.Lookup(rows.ids, EmbeddingHashTable::MissingId::kInitialValue,
                     absl::MakeSpan(converted.embeddings)));
  }
  TF_RETURN_IF_ERROR(
      destination.conversion.Convert(rows, absl::MakeSpan(converted.embeddings),
                                     absl::MakeSpan(converted.states)));
  return converted;
}

absl::Status CheckRows(const std::optional<Destination>& destination,
                       const RowBatch& rows) {
  if (!destination.has_value()) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(const ConvertedRows converted,
                      Convert(*destination, rows));
  return destination->table->ValidateRows(rows.ids, converted.embeddings,
                                          converted.states);
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

absl::Status AnotherModel(const TableSet& tables,
                          const std::vector<SavedFiles>& saves) {
  std::set<std::string> got, wanted;
  for (const SavedFiles& save : saves) {
    for (const TableFileHeader::Table& table : save.front().header.tables) {
      got.insert(table.config.name);
    }
  }
  for (int t = 0; t < tables.num_tables(); ++t) {
    wanted.insert(tables.table(t).config().name);
  }
  const SavedFiles& first = saves.front();
  return absl::InvalidArgumentError(absl::StrCat(
      "table file ", first.front().name, first.size() > 1 ? " and others" : "",
      ": got rows of ", absl::StrJoin(got, ", "), ", wanted some of ",
      absl::StrJoin(wanted, ", "), "; nothing was restored"));
}

}  // namespace monolith
