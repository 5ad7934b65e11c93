#include "monolith/native_training/runtime/ops/compact_tables/export_tables.h"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "monolith/native_training/runtime/compact_table/compact_table_writer.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/ops/compact_tables/file_adapters.h"
#include "monolith/native_training/runtime/ops/low_priority.h"
#include "monolith/native_training/runtime/ops/table_files/destination.h"
#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"
#include "monolith/native_training/runtime/ops/table_files/saved_files.h"
#include "monolith/native_training/runtime/ops/table_files/storage.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "tensorflow/core/lib/core/refcount.h"
#include "tensorflow/core/lib/io/path.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using IsCancelled = std::function<bool()>;

absl::Status Cancelled() {
  return absl::CancelledError("the export was given up");
}

// An error of an output, or of a temporary file beside it. It has a code of its
// own, whatever the filesystem's: a file that is gone, or too large, would be
// one of the checkpoint's that is damaged.
absl::Status NotWritten(const absl::Status& error) {
  if (error.ok() || absl::IsCancelled(error)) return error;
  return absl::UnknownError(
      absl::StrCat("the export cannot be written: ", error.message()));
}

// Writes until it is cancelled.
class CancellableSink : public ByteSink {
 public:
  CancellableSink(ByteSink& sink, const IsCancelled& is_cancelled)
      : sink_(sink), is_cancelled_(is_cancelled) {}

  absl::Status Append(absl::Span<const uint8_t> bytes) override {
    if (is_cancelled_()) return Cancelled();
    return sink_.Append(bytes);
  }

 private:
  ByteSink& sink_;
  const IsCancelled& is_cancelled_;
};

// The outputs that are being written.
class Outputs {
 public:
  static absl::StatusOr<std::unique_ptr<Outputs>> Create(
      const std::vector<TableConfig>& configs, int num_shards,
      absl::Span<const std::string> files, size_t memory_bytes,
      tensorflow::Env* env) {
    std::unique_ptr<Outputs> outputs(new Outputs());
    outputs->names_.assign(files.begin(), files.end());
    outputs->num_tables_ = configs.size();
    outputs->num_shards_ = num_shards;
    // One for all: a process may have few files open.
    outputs->rest_ = std::make_unique<TemporaryFile>(
        env, absl::StrCat(files[0], ".unsorted"));
    std::vector<TableConfig> tables;
    for (size_t i = 0; i < files.size(); ++i) {
      tables.push_back(configs[i % configs.size()]);
    }
    TF_ASSIGN_OR_RETURN(outputs->writers_,
                        CompactTableWriter::CreateAll(
                            tables, outputs->rest_.get(), memory_bytes));
    return outputs;
  }

  absl::Status Add(size_t table, const std::vector<int64_t>& ids,
                   const std::vector<float>& embeddings) {
    if (num_shards_ == 1) return Writer(0, table).Add(ids, embeddings);
    const size_t dim = Writer(0, table).dim();
    for (size_t i = 0; i < ids.size(); ++i) {
      TF_RETURN_IF_ERROR(
          Writer(ShardOfId(ids[i], num_shards_), table)
              .Add({ids[i]}, absl::MakeConstSpan(&embeddings[i * dim], dim)));
    }
    return absl::OkStatus();
  }

  absl::Status Erase(size_t table, const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) {
      TF_RETURN_IF_ERROR(Writer(ShardOfId(id, num_shards_), table).Erase({id}));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int64_t>> Finish(const IsCancelled& is_cancelled,
                                              tensorflow::Env* env) {
    std::vector<int64_t> rows;
    for (size_t i = 0; i < names_.size(); ++i) {
      TF_ASSIGN_OR_RETURN(const std::unique_ptr<FileSink> sink,
                          FileSink::Create(env, names_[i]));
      CancellableSink cancellable(*sink, is_cancelled);
      TF_ASSIGN_OR_RETURN(const int64_t written,
                          writers_[i]->Finish(cancellable));
      TF_RETURN_IF_ERROR(sink->CloseAndFlush());
      TF_RETURN_IF_ERROR(
          FlushFolder(std::string(tensorflow::io::Dirname(names_[i]))));
      rows.push_back(written);
    }
    return rows;
  }

 private:
  Outputs() = default;

  CompactTableWriter& Writer(size_t shard, size_t table) {
    return *writers_[shard * num_tables_ + table];
  }

  size_t num_tables_ = 0;
  int num_shards_ = 1;
  std::vector<std::string> names_;
  std::unique_ptr<TemporaryFile> rest_;  // what memory has no room for
  std::vector<std::unique_ptr<CompactTableWriter>> writers_;  // as `names_`
};

absl::Status ExportRows(const Destination& destination,
                        const EmbeddingHashTable::RowBatch& rows,
                        Outputs& outputs) {
  const EmbeddingHashTable& table = *destination.table;
  const auto add = [&](const std::vector<float>& embeddings,
                       const std::vector<float>& states) {
    TF_RETURN_IF_ERROR(table.ValidateRows(rows.ids, embeddings, states));
    return NotWritten(
        outputs.Add(destination.table_index, rows.ids, embeddings));
  };
  if (destination.conversion.is_identity()) {
    return add(rows.embeddings, rows.states);
  }
  TF_ASSIGN_OR_RETURN(const ConvertedRows converted,
                      Convert(destination, rows));
  return add(converted.embeddings, converted.states);
}

// Whether the files have every table of the model, with or without rows.
absl::Status CheckTables(const TableSet& tables,
                         const std::vector<SavedFiles>& saves) {
  std::set<std::string> there;
  for (const SavedFiles& save : saves) {
    for (const SavedFile& file : save) {
      for (const TableFileHeader::Table& table : file.header.tables) {
        there.insert(table.config.name);
      }
    }
  }
  std::vector<std::string> misfits;
  for (int t = 0; t < tables.num_tables(); ++t) {
    const std::string& name = tables.table(t).config().name;
    if (there.count(name) != 0) continue;
    misfits.push_back(
        absl::StrCat("table ", name, " is in the model, but not in the files"));
  }
  if (misfits.empty()) return absl::OkStatus();
  const bool shares_none =
      misfits.size() == static_cast<size_t>(tables.num_tables());
  if (shares_none && !there.empty()) return AnotherModel(tables, saves);
  return absl::InvalidArgumentError(absl::StrJoin(misfits, ", "));
}

// Adds the rows of a file; how many it has.
absl::StatusOr<int64_t> ExportFile(const TableSet& tables,
                                   const SavedFile& file, Outputs& outputs,
                                   const IsCancelled& is_cancelled,
                                   tensorflow::Env* env) {
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                      Reopen(env, file));
  TF_ASSIGN_OR_RETURN(const Destinations destinations,
                      FindDestinations(tables, file, MustFit::kEverySegment));
  int64_t num_rows = 0;
  for (;;) {
    if (is_cancelled()) return Cancelled();
    TF_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block.has_value()) return num_rows;
    absl::Status done;
    if (const auto* rows = std::get_if<RowBlock>(&*block)) {
      num_rows += static_cast<int64_t>(rows->rows.ids.size());
      const auto& destination = destinations[rows->table];
      if (!destination.has_value()) continue;
      done = ExportRows(*destination, rows->rows, outputs);
    } else if (const auto* erased = std::get_if<ErasedBlock>(&*block)) {
      const auto& destination = destinations[erased->table];
      if (!destination.has_value()) continue;
      done = NotWritten(outputs.Erase(destination->table_index, erased->ids));
    } else {
      const auto& trials = std::get<TrialBlock>(*block);
      done = CheckTrials(destinations[trials.table], trials);
    }
    // No table can have held that.
    if (absl::IsInvalidArgument(done) || absl::IsDataLoss(done)) {
      return reader->Damaged(done.message());
    }
    TF_RETURN_IF_ERROR(done);
  }
}

absl::StatusOr<ExportedTables> Export(
    const std::vector<TableConfig>& configs,
    absl::Span<const std::string> files, absl::Span<const std::string> save_ids,
    int num_shards, absl::Span<const std::string> outputs, size_t memory_bytes,
    const IsCancelled& is_cancelled, tensorflow::Env* env) {
  TF_ASSIGN_OR_RETURN(const std::vector<SavedFiles> saves,
                      FindSaves(env, files, save_ids));
  // Tables without rows, which know what rows may be like.
  TF_ASSIGN_OR_RETURN(TableSet * set, TableSet::Create(configs));
  const tensorflow::core::RefCountPtr<TableSet> tables(set);
  TF_RETURN_IF_ERROR(CheckTables(*tables, saves));
  TF_ASSIGN_OR_RETURN(
      const std::unique_ptr<Outputs> open,
      Outputs::Create(configs, num_shards, outputs, memory_bytes, env));
  ExportedTables result;
  for (const SavedFiles& save : saves) {
    for (const SavedFile& file : save) {
      TF_ASSIGN_OR_RETURN(const int64_t rows,
                          ExportFile(*tables, file, *open, is_cancelled, env));
      result.rows_read += rows;
    }
  }
  absl::StatusOr<std::vector<int64_t>> written =
      open->Finish(is_cancelled, env);
  if (!written.ok()) return NotWritten(written.status());
  result.rows = *std::move(written);
  return result;
}

}  // namespace

absl::StatusOr<ExportedTables> ExportTables(
    const std::vector<TableConfig>& configs,
    absl::Span<const std::string> files, absl::Span<const std::string> save_ids,
    int num_shards, absl::Span<const std::string> outputs, size_t memory_bytes,
    const std::function<bool()>& is_cancelled, tensorflow::Env* env) {
  absl::StatusOr<ExportedTables> result;
  std::unique_ptr<tensorflow::Thread> thread(
      env->StartThread({}, "monolith_export", [&] {
        LowerPriority();
        result = Export(configs, files, save_ids, num_shards, outputs,
                        memory_bytes, is_cancelled, env);
      }));
  thread.reset();  // Waits for it.
  if (result.ok()) return result;
  // Whatever else failed, that is why it ends.
  if (is_cancelled()) return Cancelled();
  return StorageError(result.status());
}

}  // namespace monolith
