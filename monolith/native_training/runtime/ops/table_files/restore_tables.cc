#include "monolith/native_training/runtime/ops/table_files/restore_tables.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/table_files/destination.h"
#include "monolith/native_training/runtime/ops/table_files/in_threads.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/saved_files.h"
#include "monolith/native_training/runtime/ops/table_files/shard_rows.h"
#include "monolith/native_training/runtime/ops/table_files/storage.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using RowBatch = EmbeddingHashTable::RowBatch;

// Reads all of a file; how many rows it has.
absl::StatusOr<int64_t> CheckFile(const TableSet& tables, tensorflow::Env* env,
                                  const SavedFile& file, MustFit must_fit,
                                  const TableTurns::Turn& turn) {
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                      Reopen(env, file));
  TF_ASSIGN_OR_RETURN(const Destinations destinations,
                      FindDestinations(tables, file, must_fit));
  int64_t num_rows = 0;
  for (;;) {
    TF_RETURN_IF_ERROR(turn.Check());
    TF_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block.has_value()) return num_rows;
    absl::Status valid;
    if (const auto* rows = std::get_if<RowBlock>(&*block)) {
      num_rows += rows->rows.ids.size();
      valid = CheckRows(destinations[rows->table], rows->rows);
    } else if (const auto* trials = std::get_if<TrialBlock>(&*block)) {
      valid = CheckTrials(destinations[trials->table], *trials);
    }
    if (!valid.ok()) return reader->Damaged(valid.message());
  }
}

absl::Status ImportRows(const Destination& destination, const RowBatch& rows) {
  if (destination.conversion.is_identity()) {
    return destination.table->ImportRows(rows.ids, rows.embeddings, rows.states,
                                         rows.update_times);
  }
  TF_ASSIGN_OR_RETURN(const ConvertedRows converted,
                      Convert(destination, rows));
  return destination.table->ImportRows(rows.ids, converted.embeddings,
                                       converted.states, rows.update_times);
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

// Calls body(file) for each, several beside each other; the first error ends
// it.
absl::Status ForEachFile(
    tensorflow::Env* env, const std::vector<const SavedFile*>& files,
    absl::FunctionRef<absl::Status(const SavedFile&)> body) {
  return ForEachInThreads(env, files.size(),
                          [&](size_t i) { return body(*files[i]); });
}

// Reads files into tables, save by save.
class Restorer {
 public:
  Restorer(TableSet& tables, std::vector<SavedFiles> saves, TableShard shard,
           const RestoreOptions& options, tensorflow::Env* env)
      : tables_(tables),
        saves_(std::move(saves)),
        shard_(shard),
        options_(options),
        env_(env) {}

  // Whether the files fit the tables, as far as their headers tell; says what
  // will be lost. `has_destination`: whether some table is one of the model's.
  absl::Status CheckHeaders(bool* has_destination) {
    *has_destination = false;
    for (const SavedFiles& save : saves_) {
      for (const SavedFile& file : save) {
        TF_ASSIGN_OR_RETURN(const Destinations destinations,
                            FindDestinations(tables_, file, options_.must_fit));
        for (const auto& destination : destinations) {
          if (!destination.has_value()) continue;
          *has_destination = true;
          const auto& lost = destination->conversion.warnings();
          warnings_.insert(lost.begin(), lost.end());
        }
      }
    }
    return absl::OkStatus();
  }

  // Reads all files to their end; how many rows they have.
  absl::StatusOr<int64_t> CheckContents(const TableTurns::Turn& turn) const {
    std::atomic<int64_t> num_rows{0};
    for (const SavedFiles& save : saves_) {
      TF_RETURN_IF_ERROR(
          ForEachFile(env_, FilesOfShard(save), [&](const SavedFile& file) {
            absl::StatusOr<int64_t> rows =
                CheckFile(tables_, env_, file, options_.must_fit, turn);
            if (rows.ok()) num_rows += *rows;
            return rows.status();
          }));
    }
    return num_rows.load();
  }

  // Makes room in tables for the rows that are to come.
  void Reserve() const {
    if (saves_.empty()) return;
    std::map<EmbeddingHashTable*, int64_t> rows;
    for (const SavedFile* file : FilesOfShard(saves_.front())) {
      absl::StatusOr<Destinations> destinations =
          FindDestinations(tables_, *file, options_.must_fit);
      uint64_t size = 0;
      if (!destinations.ok() || !env_->GetFileSize(file->name, &size).ok()) {
        return;
      }
      for (size_t f = 0; f < destinations->size(); ++f) {
        if (!(*destinations)[f].has_value()) continue;
        if (!(*destinations)[f]->conversion.takes_rows()) continue;
        const TableFileHeader::Table& table = file->header.tables[f];
        const auto row_bytes = static_cast<int64_t>(
            sizeof(int64_t) +
            sizeof(float) * (table.dim() + table.state_dim()));
        // A file cannot have more than fit into it, whatever it says.
        const int64_t there = std::min(table.expected_rows,
                                       static_cast<int64_t>(size) / row_bytes);
        const bool is_ours = file->header.shard.count == shard_.count;
        rows[(*destinations)[f]->table] +=
            is_ours ? there : there / shard_.count;
      }
    }
    for (const auto& [table, count] : rows) table->Reserve(count);
  }

  // Adds the rows to empty tables; how many were read.
  absl::StatusOr<int64_t> Restore(const TableTurns::Turn& turn) {
    const SavedFiles* const first = FirstWithTrials();
    bool with_trials = false;
    for (const SavedFiles& save : saves_) {
      with_trials |= options_.with_trials && &save == first;
      aged_.clear();
      if (with_trials && &save != first) {
        TF_RETURN_IF_ERROR(ForEachFile(
            env_, FilesOfShard(save),
            [&](const SavedFile& file) { return EndTrials(file, turn); }));
      }
      TF_RETURN_IF_ERROR(
          ForEachFile(env_, FilesOfShard(save), [&](const SavedFile& file) {
            return RestoreFile(file, with_trials, turn);
          }));
    }
    return num_rows_.load();
  }

  // What began anew, as far as that is known by now.
  const std::set<std::string>& warnings() const { return warnings_; }

 private:
  // The last save that has all trials, not those that have changed alone.
  const SavedFiles* FirstWithTrials() const {
    const SavedFiles* first = nullptr;
    for (const SavedFiles& save : saves_) {
      const TableFileHeader& header = save.front().header;
      if (header.save.base.empty() ||
          header.version < kFirstWithChangedTrials) {
        first = &save;
      }
    }
    return first;
  }

  // As many servers spread ids in the same way: others' files have none of
  // ours.
  std::vector<const SavedFile*> FilesOfShard(const SavedFiles& save) const {
    std::vector<const SavedFile*> files;
    for (const SavedFile& file : save) {
      const TableShard other = file.header.shard;
      if (file.header.save.id.empty() || other.count != shard_.count ||
          other.index == shard_.index) {
        files.push_back(&file);
      }
    }
    return files;
  }

  static bool CountsTrials(const std::optional<Destination>& destination) {
    return destination.has_value() && destination->conversion.takes_rows() &&
           destination->table->config().occurrence_threshold > 0;
  }

  // Ends the trials of the saves before whose ids have a row in a file or were
  // erased. A file has its own trials first, which push out the oldest where
  // there is no room: those that are over must not take it.
  absl::Status EndTrials(const SavedFile& file,
                         const TableTurns::Turn& turn) const {
    TF_ASSIGN_OR_RETURN(const Destinations destinations,
                        FindDestinations(tables_, file, options_.must_fit));
    if (!TakesTrials(shard_, file.header.shard) ||
        std::none_of(destinations.begin(), destinations.end(), CountsTrials)) {
      return absl::OkStatus();
    }
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                        Reopen(env_, file));
    for (;;) {
      TF_RETURN_IF_ERROR(turn.Check());
      TF_ASSIGN_OR_RETURN(auto block, reader->Next());
      if (!block.has_value()) return absl::OkStatus();
      std::vector<int64_t> ids;
      uint32_t table = 0;
      if (auto* rows = std::get_if<RowBlock>(&*block)) {
        table = rows->table;
        ids = std::move(rows->rows.ids);
      } else if (auto* erased = std::get_if<ErasedBlock>(&*block)) {
        table = erased->table;
        ids = std::move(erased->ids);
      }
      if (ids.empty() || !CountsTrials(destinations[table])) continue;
      KeepShard(shard_, &ids);
      TF_RETURN_IF_ERROR(destinations[table]->table->EndTrials(ids));
    }
  }

  absl::Status RestoreFile(const SavedFile& file, bool with_trials,
                           const TableTurns::Turn& turn) {
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                        Reopen(env_, file));
    TF_ASSIGN_OR_RETURN(const Destinations destinations,
                        FindDestinations(tables_, file, options_.must_fit));
    const bool takes_trials =
        with_trials && TakesTrials(shard_, file.header.shard);
    // A trial of the saves before may be over.
    const bool ends_trials = takes_trials && !file.header.save.base.empty();
    for (;;) {
      TF_RETURN_IF_ERROR(turn.Check());
      TF_ASSIGN_OR_RETURN(auto block, reader->Next());
      if (!block.has_value()) return absl::OkStatus();
      absl::Status done;
      if (auto* rows = std::get_if<RowBlock>(&*block)) {
        const auto& destination = destinations[rows->table];
        if (!destination.has_value()) continue;
        KeepShard(shard_, rows);
        num_rows_ += rows->rows.ids.size();
        if (!destination->conversion.takes_rows()) continue;
        done = ImportRows(*destination, rows->rows);
        if (ends_trials) {
          done.Update(destination->table->EndTrials(rows->rows.ids));
        }
      } else if (auto* erased = std::get_if<ErasedBlock>(&*block)) {
        const auto& destination = destinations[erased->table];
        if (!destination.has_value()) continue;
        KeepShard(shard_, &erased->ids);
        done = destination->table->Erase(erased->ids).status();
        if (ends_trials) {
          done.Update(destination->table->EndTrials(erased->ids));
        }
      } else {
        auto& trials = std::get<TrialBlock>(*block);
        const auto& destination = destinations[trials.table];
        if (!destination.has_value() || !takes_trials) continue;
        if (!destination->conversion.takes_rows()) continue;
        trials.batch.aged = StillToAge(*destination, trials);
        done = TakeTrials(file, *destination, trials);
      }
      // The table refuses what no table can have held.
      if (absl::IsInvalidArgument(done) || absl::IsDataLoss(done)) {
        return reader->Damaged(done.message());
      }
      TF_RETURN_IF_ERROR(done);
    }
  }

  absl::Status TakeTrials(const SavedFile& file, const Destination& destination,
                          const TrialBlock& trials) {
    TF_RETURN_IF_ERROR(CheckTrials(destination, trials));
    TF_ASSIGN_OR_RETURN(const bool taken, ImportTrials(destination, trials));
    if (taken) return absl::OkStatus();
    std::lock_guard<std::mutex> lock(mutex_);
    warnings_.insert(LostTrials(file.header.tables[trials.table].config,
                                destination.table->config()));
    return absl::OkStatus();
  }

  // The trials of all servers that a save is of go into one filter, which ages
  // as the one of these that has aged most.
  uint32_t StillToAge(const Destination& destination,
                      const TrialBlock& trials) {
    std::lock_guard<std::mutex> lock(mutex_);
    uint32_t& aged = aged_[{destination.table, trials.stripe}];
    const uint32_t before = aged;
    aged = std::max(aged, trials.batch.aged);
    return aged - before;
  }

  TableSet& tables_;
  const std::vector<SavedFiles> saves_;
  const TableShard shard_;
  const RestoreOptions options_;
  tensorflow::Env* const env_;
  std::atomic<int64_t> num_rows_{0};
  std::mutex mutex_;
  std::set<std::string> warnings_;  // guarded by mutex_ where files are read
  // By how much the trials of a stripe have aged in a save. Guarded by mutex_.
  std::map<std::pair<const EmbeddingHashTable*, uint32_t>, uint32_t> aged_;
};

bool HaveTables(const std::vector<SavedFiles>& saves) {
  return std::any_of(saves.begin(), saves.end(), [](const SavedFiles& save) {
    return !save.front().header.tables.empty();
  });
}

// Whether the tables have something to lose.
absl::StatusOr<bool> HaveContents(const TableSet& tables) {
  for (int t = 0; t < tables.num_tables(); ++t) {
    const EmbeddingHashTable& table = tables.table(t);
    if (table.size() > 0) return true;
    if (table.config().occurrence_threshold == 0) continue;
    for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
      RowBatch rows;
      TrialBatch trials;
      TF_RETURN_IF_ERROR(table.ExportStripe(stripe, &rows, &trials));
      if (!trials.trials.empty()) return true;
    }
  }
  return false;
}

absl::StatusOr<Restored> RestoreInTurn(TableSet& tables, Restorer& restorer,
                                       const std::vector<SavedFiles>& saves,
                                       MustFit must_fit, bool has_destination,
                                       TableTurns::Turn& turn) {
  Restored result;
  TF_ASSIGN_OR_RETURN(const bool have_contents, HaveContents(tables));
  if (have_contents || !has_destination) {
    TF_ASSIGN_OR_RETURN(result.rows, restorer.CheckContents(turn));
    // Tables that the model no longer has are passed over, but not all of them.
    if (!has_destination && must_fit != MustFit::kNothing &&
        HaveTables(saves)) {
      return AnotherModel(tables, saves);
    }
  }
  turn.ForgetLastSave();
  tables.Clear();
  restorer.Reserve();
  absl::StatusOr<int64_t> restored = restorer.Restore(turn);
  if (!restored.ok()) {
    tables.Clear();
    return restored.status();
  }
  result.rows = *restored;
  result.warnings.assign(restorer.warnings().begin(),
                         restorer.warnings().end());
  return result;
}

}  // namespace

absl::StatusOr<Restored> RestoreTables(TableSet& tables,
                                       absl::Span<const std::string> files,
                                       absl::Span<const std::string> save_ids,
                                       TableShard shard,
                                       const RestoreOptions& options,
                                       TableTurns::IsCancelled is_cancelled,
                                       tensorflow::Env* env) {
  const int64_t number = tables.turns().TakeNumber();
  const absl::StatusOr<std::vector<SavedFiles>> saves =
      FindSaves(env, files, save_ids);
  if (!saves.ok()) return StorageError(saves.status());
  Restorer restorer(tables, *saves, shard, options, env);
  bool has_destination = false;
  TF_RETURN_IF_ERROR(restorer.CheckHeaders(&has_destination));
  TF_ASSIGN_OR_RETURN(
      const std::unique_ptr<TableTurns::Turn> turn,
      tables.turns().BeginReplacing(number, std::move(is_cancelled)));
  absl::StatusOr<Restored> restored = RestoreInTurn(
      tables, restorer, *saves, options.must_fit, has_destination, *turn);
  if (restored.ok()) return restored;
  // Whatever else failed, that is why it ends.
  TF_RETURN_IF_ERROR(turn->Check());
  return StorageError(restored.status());
}

}  // namespace monolith
