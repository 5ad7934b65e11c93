#include "monolith/native_training/runtime/ops/table_files/save_tables.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/initial_state.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"
#include "monolith/native_training/runtime/ops/table_set.h"
#include "tensorflow/core/lib/io/path.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/lib/random/random.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_system.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

constexpr size_t kMaxBlockRows = 64 * 1024;
constexpr size_t kMaxBlockBytes = 64 << 20;
constexpr size_t kMaxBlockTrials = 1 << 20;

absl::StatusOr<TableFileHeader> MakeHeader(const TableSet& tables,
                                           TableShard shard,
                                           absl::string_view written_by) {
  TableFileHeader header;
  header.written_by = std::string(written_by);
  header.shard = shard;
  for (TableConfig& config : tables.configs()) {
    TableFileHeader::Table table;
    for (const SegmentConfig& segment : config.segments) {
      TF_ASSIGN_OR_RETURN(const std::vector<float> state,
                          InitialState(segment));
      table.state_dims.push_back(static_cast<int>(state.size()));
    }
    table.config = std::move(config);
    header.tables.push_back(std::move(table));
  }
  return header;
}

// Returns what there was of table `t`.
absl::StatusOr<TableCounts> WriteTable(const TableSet& tables, int t,
                                       tensorflow::io::RecordWriter& writer) {
  const EmbeddingHashTable& table = tables.table(t);
  const size_t row_bytes =
      sizeof(float) * (size_t{1} + table.dim() + table.state_dim());
  const size_t block_rows =
      std::clamp(kMaxBlockBytes / row_bytes, size_t{1}, kMaxBlockRows);
  TableCounts counts;
  EmbeddingHashTable::RowBatch rows;
  TrialBatch trials;
  for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
    rows.ids.clear();
    rows.embeddings.clear();
    rows.states.clear();
    rows.update_times.clear();
    TF_RETURN_IF_ERROR(table.ExportStripe(stripe, &rows, &trials));
    const size_t n = rows.ids.size();
    for (size_t begin = 0; begin < n; begin += block_rows) {
      TF_RETURN_IF_ERROR(writer.WriteRecord(
          EncodeBlock(t, table.dim(), table.state_dim(), rows, begin,
                      std::min(n, begin + block_rows))));
    }
    counts.rows += n;
    const size_t num_trials = trials.trials.size();
    for (size_t begin = 0; begin < num_trials; begin += kMaxBlockTrials) {
      TF_RETURN_IF_ERROR(writer.WriteRecord(
          EncodeTrials(t, stripe, trials, begin,
                       std::min(num_trials, begin + kMaxBlockTrials))));
    }
    counts.trials += num_trials;
  }
  return counts;
}

absl::StatusOr<int64_t> WriteFile(const TableSet& tables, TableShard shard,
                                  absl::string_view written_by,
                                  tensorflow::WritableFile* file) {
  tensorflow::io::RecordWriter writer(file);
  TF_ASSIGN_OR_RETURN(const TableFileHeader header,
                      MakeHeader(tables, shard, written_by));
  TF_RETURN_IF_ERROR(writer.WriteRecord(EncodeHeader(header)));
  TableFileFooter footer;
  int64_t num_rows = 0;
  for (int t = 0; t < tables.num_tables(); ++t) {
    TF_ASSIGN_OR_RETURN(const TableCounts counts,
                        WriteTable(tables, t, writer));
    footer.push_back(counts);
    num_rows += counts.rows;
  }
  TF_RETURN_IF_ERROR(writer.WriteRecord(EncodeFooter(footer)));
  TF_RETURN_IF_ERROR(writer.Close());
  TF_RETURN_IF_ERROR(file->Sync());
  TF_RETURN_IF_ERROR(file->Close());
  return num_rows;
}

absl::StatusOr<int64_t> WriteAndRename(const TableSet& tables, TableShard shard,
                                       absl::string_view written_by,
                                       tensorflow::Env* env,
                                       const std::string& temporary,
                                       const std::string& file) {
  std::unique_ptr<tensorflow::WritableFile> output;
  TF_RETURN_IF_ERROR(env->NewWritableFile(temporary, &output));
  TF_ASSIGN_OR_RETURN(const int64_t num_rows,
                      WriteFile(tables, shard, written_by, output.get()));
  TF_RETURN_IF_ERROR(env->RenameFile(temporary, file));
  return num_rows;
}

}  // namespace

absl::StatusOr<int64_t> SaveTables(const TableSet& tables, TableShard shard,
                                   absl::string_view written_by,
                                   tensorflow::Env* env,
                                   const std::string& file) {
  const std::string folder(tensorflow::io::Dirname(file));
  if (!folder.empty()) TF_RETURN_IF_ERROR(env->RecursivelyCreateDir(folder));
  const std::string temporary = absl::StrCat(
      file, ".tmp-", absl::Hex(tensorflow::random::New64(), absl::kZeroPad16));
  absl::StatusOr<int64_t> num_rows =
      WriteAndRename(tables, shard, written_by, env, temporary, file);
  if (!num_rows.ok()) {
    // May not exist; the error to report is the first.
    env->DeleteFile(temporary).IgnoreError();
    return absl::Status(num_rows.status().code(),
                        absl::StrCat("writing table file ", file, ": ",
                                     num_rows.status().message()));
  }
  return num_rows;
}

}  // namespace monolith
