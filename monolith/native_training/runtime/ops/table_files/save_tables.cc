#include "monolith/native_training/runtime/ops/table_files/save_tables.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/ops/low_priority.h"
#include "monolith/native_training/runtime/ops/table_files/processor_quota.h"
#include "monolith/native_training/runtime/ops/table_files/record_writer.h"
#include "monolith/native_training/runtime/ops/table_files/save_pace.h"
#include "monolith/native_training/runtime/ops/table_files/storage.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "monolith/native_training/runtime/ops/table_set/table_turns.h"
#include "tensorflow/core/lib/io/path.h"
#include "tensorflow/core/lib/random/random.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_statistics.h"
#include "tensorflow/core/platform/file_system.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

using SaveMode = EmbeddingHashTable::SaveMode;

// What the threads of a save ask as they go.
struct Guide {
  std::function<absl::Status()> check;  // whether to go on
  std::function<bool()> is_urgent;
  SavePace::Clock& clock;  // of their pace
};

// Of one record.
constexpr size_t kMaxBlockBytes = 64 << 20;
constexpr size_t kMaxBlockIds = 1 << 20;

absl::StatusOr<TableFileHeader> MakeHeader(const TableSet& tables,
                                           const SaveRequest& request) {
  TableFileHeader header;
  header.written_by = request.written_by;
  header.shard = request.shard;
  header.save = {request.save_id, request.base_save_id, 0, request.num_files};
  for (int t = 0; t < tables.num_tables(); ++t) {
    const EmbeddingHashTable& from = tables.table(t);
    TableFileHeader::Table table;
    table.config = from.config();
    for (int s = 0; s < from.num_segments(); ++s) {
      const size_t state_dim = from.initial_state(s).size();
      table.state_dims.push_back(static_cast<int>(state_dim));
    }
    header.tables.push_back(std::move(table));
  }
  TF_ASSIGN_OR_RETURN(const TableFileHeader read,
                      DecodeHeader(EncodeHeader(header)));
  if (read.save.id != header.save.id || read.save.base != header.save.base) {
    return absl::InvalidArgumentError(
        "save_id and base_save_id must be UTF-8, got other bytes");
  }
  return header;
}

// The numbers of a table's stripes that a file has.
struct StripeRange {
  int begin;
  int end;
};

StripeRange StripesOfFile(int num_stripes, int file_index, int num_files) {
  return {num_stripes * file_index / num_files,
          num_stripes * (file_index + 1) / num_files};
}

// Puts what is saved of one table into records.
class RecordsWriter : public EmbeddingHashTable::StripeWriter {
 public:
  RecordsWriter(const EmbeddingHashTable& table, uint32_t number,
                const Guide& guide, SavePace& pace, RecordWriter& records)
      : table_(table),
        number_(number),
        guide_(guide),
        pace_(pace),
        records_(records) {
    const size_t row_bytes =
        sizeof(float) * (size_t{1} + table.dim() + table.state_dim());
    block_rows_ = std::max(kMaxBlockBytes / row_bytes, size_t{1});
  }

  void BeginStripe(int stripe) { stripe_ = static_cast<uint32_t>(stripe); }
  const TableCounts& counts() const { return counts_; }

  absl::Status WriteErased(absl::Span<const int64_t> ids) override {
    counts_.erased += ids.size();
    return InParts(ids.size(), kMaxBlockIds, [&](size_t begin, size_t end) {
      return EncodeErased(number_, ids.subspan(begin, end - begin));
    });
  }

  absl::Status WriteTrials(const TrialBatch& trials) override {
    counts_.trials += trials.trials.size();
    if (trials.aged > 0) {
      TF_RETURN_IF_ERROR(records_.Write(EncodeAged(number_, stripe_, trials)));
    }
    return InParts(trials.trials.size(), kMaxBlockIds,
                   [&](size_t begin, size_t end) {
                     return EncodeTrials(number_, stripe_, trials, begin, end);
                   });
  }

  absl::Status WriteRows(const EmbeddingHashTable::RowBatch& rows) override {
    counts_.rows += rows.ids.size();
    return InParts(rows.ids.size(), block_rows_, [&](size_t begin, size_t end) {
      return EncodeBlock(number_, table_.dim(), table_.state_dim(), rows, begin,
                         end);
    });
  }

 private:
  template <typename Encode>
  absl::Status InParts(size_t n, size_t most, Encode encode) {
    for (size_t begin = 0; begin < n; begin += most) {
      TF_RETURN_IF_ERROR(guide_.check());
      TF_RETURN_IF_ERROR(
          records_.Write(encode(begin, std::min(n, begin + most))));
      pace_.Rest();
    }
    return absl::OkStatus();
  }

  const EmbeddingHashTable& table_;
  const uint32_t number_;
  const Guide& guide_;
  SavePace& pace_;
  RecordWriter& records_;
  size_t block_rows_;
  uint32_t stripe_ = 0;
  TableCounts counts_;
};

SaveMode ModeOf(const SaveRequest& request) {
  if (request.save_id.empty()) return SaveMode::kCopy;
  return request.base_save_id.empty() ? SaveMode::kAll : SaveMode::kChanges;
}

// Writes one of the files; its footer.
absl::StatusOr<TableFileFooter> WriteFile(TableSet& tables,
                                          const SaveRequest& request,
                                          const TableFileHeader& header,
                                          const Guide& guide,
                                          tensorflow::WritableFile* file) {
  SavePace pace(request.num_files, UsableProcessors(), tables.num_requests(),
                guide.is_urgent, guide.clock);
  RecordWriter records(*file);
  TF_RETURN_IF_ERROR(records.Write(EncodeHeader(header)));
  TableFileFooter footer;
  for (int t = 0; t < tables.num_tables(); ++t) {
    EmbeddingHashTable& table = tables.table(t);
    RecordsWriter writer(table, static_cast<uint32_t>(t), guide, pace, records);
    const StripeRange stripes = StripesOfFile(
        table.num_stripes(), header.save.file_index, request.num_files);
    for (int stripe = stripes.begin; stripe < stripes.end; ++stripe) {
      writer.BeginStripe(stripe);
      TF_RETURN_IF_ERROR(table.SaveStripe(stripe, ModeOf(request), writer));
    }
    footer.push_back(writer.counts());
  }
  TF_RETURN_IF_ERROR(records.Write(EncodeFooter(footer)));
  TF_RETURN_IF_ERROR(file->Sync());
  TF_RETURN_IF_ERROR(file->Close());
  return footer;
}

constexpr absl::string_view kTemporary = ".tmp-";  // and 16 digits
constexpr size_t kTemporaryDigits = 16;

std::string TemporaryName(const std::string& name) {
  return absl::StrCat(name, kTemporary,
                      absl::Hex(tensorflow::random::New64(), absl::kZeroPad16));
}

bool IsTemporaryOf(absl::string_view name, absl::string_view child) {
  return absl::ConsumePrefix(&child, name) &&
         absl::ConsumePrefix(&child, kTemporary) &&
         child.size() == kTemporaryDigits &&
         std::all_of(child.begin(), child.end(), absl::ascii_isxdigit);
}

// Removes what saves to the same name have left that were killed: what nobody
// has written to for a day. Who writes now does so all the time.
void RemoveRemains(const std::string& file, tensorflow::Env* env) {
  constexpr int64_t kDayNanos = int64_t{24} * 3600 * 1000 * 1000 * 1000;
  const std::string folder(tensorflow::io::Dirname(file));
  const std::string name(tensorflow::io::Basename(file));
  std::vector<std::string> children;
  // What cannot be removed does no harm.
  env->GetChildren(folder.empty() ? "." : folder, &children).IgnoreError();
  for (const std::string& child : children) {
    if (!IsTemporaryOf(name, child)) continue;
    const std::string remains = tensorflow::io::JoinPath(folder, child);
    tensorflow::FileStatistics found;
    if (!env->Stat(remains, &found).ok() || found.mtime_nsec <= 0) continue;
    const auto now = static_cast<int64_t>(env->NowNanos());
    if (now - found.mtime_nsec < kDayNanos) continue;
    env->DeleteFile(remains).IgnoreError();
  }
}

std::string NameOfFile(const SaveRequest& request, int index) {
  if (request.num_files == 1) return request.file;
  return absl::StrCat(request.file, "-", index, "-of-", request.num_files);
}

// Writes one of the files under a name of its own, then renames it.
absl::StatusOr<TableCounts> WriteAndRename(TableSet& tables,
                                           const SaveRequest& request,
                                           TableFileHeader header, int index,
                                           const Guide& guide,
                                           tensorflow::Env* env) {
  header.save.file_index = index;
  for (size_t t = 0; t < header.tables.size(); ++t) {
    header.tables[t].expected_rows =
        ModeOf(request) == SaveMode::kChanges
            ? 0
            : tables.table(static_cast<int>(t)).size() / request.num_files;
  }
  const std::string name = NameOfFile(request, index);
  const std::string temporary = TemporaryName(name);
  const auto write = [&]() -> absl::StatusOr<TableFileFooter> {
    std::unique_ptr<tensorflow::WritableFile> output;
    TF_RETURN_IF_ERROR(env->NewWritableFile(temporary, &output));
    TF_ASSIGN_OR_RETURN(
        TableFileFooter footer,
        WriteFile(tables, request, header, guide, output.get()));
    TF_RETURN_IF_ERROR(FlushFile(temporary));
    TF_RETURN_IF_ERROR(env->RenameFile(temporary, name));
    return footer;
  };
  absl::StatusOr<TableFileFooter> footer = write();
  if (!footer.ok()) {
    // May not exist; the error to report is the first.
    env->DeleteFile(temporary).IgnoreError();
    return absl::Status(footer.status().code(),
                        absl::StrCat("writing table file ", name, ": ",
                                     footer.status().message()));
  }
  TableCounts all;
  for (const TableCounts& counts : *footer) {
    all.rows += counts.rows;
    all.trials += counts.trials;
    all.erased += counts.erased;
  }
  return all;
}

// Lets the names of files outlive a loss of power: those in a folder, and its
// own.
absl::Status FlushFolders(const std::string& folder) {
  TF_RETURN_IF_ERROR(FlushFolder(folder));
  if (folder.empty()) return absl::OkStatus();
  absl::Status status =
      FlushFolder(std::string(tensorflow::io::Dirname(folder)));
  // It need not be ours.
  return absl::IsPermissionDenied(status) ? absl::OkStatus() : status;
}

// Whether the tables know what has changed since their last save.
absl::Status CheckKnown(const TableSet& tables) {
  for (int t = 0; t < tables.num_tables(); ++t) {
    if (tables.table(t).KnowsChanges()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "table ", tables.table(t).config().name,
        " has lost so many rows since ",
        "it was last saved that it does not know which; a save of everything ",
        "has to come first"));
  }
  return absl::OkStatus();
}

// Writes all files beside each other.
absl::StatusOr<TableCounts> WriteFiles(TableSet& tables,
                                       const SaveRequest& request,
                                       const TableFileHeader& header,
                                       const Guide& guide,
                                       tensorflow::Env* env) {
  const std::string folder(tensorflow::io::Dirname(request.file));
  if (!folder.empty()) TF_RETURN_IF_ERROR(env->RecursivelyCreateDir(folder));
  std::vector<absl::StatusOr<TableCounts>> written(request.num_files);
  std::vector<std::unique_ptr<tensorflow::Thread>> threads;
  for (int i = 0; i < request.num_files; ++i) {
    threads.emplace_back(env->StartThread({}, "monolith_save", [&, i] {
      LowerPriority();
      written[i] = WriteAndRename(tables, request, header, i, guide, env);
    }));
  }
  threads.clear();  // Waits for them.
  TableCounts all;
  absl::Status status;
  for (const absl::StatusOr<TableCounts>& counts : written) {
    status.Update(counts.status());
    if (!counts.ok()) continue;
    all.rows += counts->rows;
    all.trials += counts->trials;
    all.erased += counts->erased;
  }
  if (status.ok()) {
    // What may have replaced another is whole, and stays, even if that fails.
    TF_RETURN_IF_ERROR(FlushFolders(folder));
    return all;
  }
  for (int i = 0; i < request.num_files; ++i) {
    if (written[i].ok()) env->DeleteFile(NameOfFile(request, i)).IgnoreError();
  }
  return status;
}

}  // namespace

absl::StatusOr<TableCounts> SaveTables(TableSet& tables,
                                       const SaveRequest& request,
                                       TableTurns::IsCancelled is_cancelled,
                                       tensorflow::Env* env,
                                       SavePace::Clock& clock) {
  const uint64_t hurries = tables.num_hurries();
  TF_ASSIGN_OR_RETURN(const TableFileHeader header,
                      MakeHeader(tables, request));
  const bool is_copy = ModeOf(request) == SaveMode::kCopy;
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableTurns::Turn> turn,
                      is_copy
                          ? tables.turns().BeginCopy(std::move(is_cancelled))
                          : tables.turns().BeginSave(request.base_save_id,
                                                     std::move(is_cancelled)));
  const Guide guide = {[&turn] { return turn->Check(); },
                       [&tables, &request, hurries] {
                         return request.urgent ||
                                tables.num_hurries() != hurries;
                       },
                       clock};
  if (!request.base_save_id.empty()) TF_RETURN_IF_ERROR(CheckKnown(tables));
  // Those of checkpoints are the chief's to remove.
  if (is_copy) RemoveRemains(request.file, env);
  absl::StatusOr<TableCounts> counts =
      WriteFiles(tables, request, header, guide, env);
  if (!counts.ok()) {
    // Whatever else failed, that is why it ends.
    TF_RETURN_IF_ERROR(guide.check());
    return StorageError(counts.status());
  }
  if (!is_copy) turn->SetLastSave(request.save_id);
  return counts;
}

}  // namespace monolith
