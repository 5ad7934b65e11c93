#include "monolith/native_training/runtime/ops/table_files/saved_files.h"

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/ops/table_files/in_threads.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

// "save ID", or "none".
std::string SaveName(const std::string& id) {
  return id.empty() ? "none" : absl::StrCat("save ", id);
}

absl::Status CheckIsOf(const SavedFile& file, const std::string& save_id) {
  const std::string& id = file.header.save.id;
  if (id == save_id) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("table file ", file.name, " is of ",
                                          SaveName(id), ", its manifest wants ",
                                          SaveName(save_id)));
}

absl::Status CheckComplete(const SavedFiles& save) {
  const TableFileHeader& first = save.front().header;
  if (first.save.id.empty()) return absl::OkStatus();  // files by themselves
  std::set<std::pair<int, int>> seen;                  // server and file
  for (const SavedFile& file : save) {
    const TableFileHeader& header = file.header;
    if (header.shard.count != first.shard.count ||
        header.save.num_files != first.save.num_files ||
        header.save.base != first.save.base) {
      return absl::DataLossError(
          absl::StrCat("table files ", save.front().name, " and ", file.name,
                       " name the same save, but do not belong together"));
    }
    if (!seen.insert({header.shard.index, header.save.file_index}).second) {
      return absl::DataLossError(
          absl::StrCat("table file ", file.name, " is there twice"));
    }
  }
  for (int server = 0; server < first.shard.count; ++server) {
    for (int i = 0; i < first.save.num_files; ++i) {
      if (seen.count({server, i}) != 0) continue;
      return absl::DataLossError(absl::StrCat(
          "of the save that table file ", save.front().name,
          " is a part of, file ", i, " of ", first.save.num_files,
          " of server ", server, " of ", first.shard.count, " is missing"));
    }
  }
  return absl::OkStatus();
}

// `before` is null for the first save.
absl::Status CheckFollows(const SavedFiles& save, const SavedFiles* before) {
  const std::string& base = save.front().header.save.base;
  const std::string& wanted =
      before == nullptr ? "" : before->front().header.save.id;
  if (base == wanted && (before == nullptr || !base.empty())) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("table file ", save.front().name, " has the changes since ",
                   SaveName(base), ", but what comes before it is ",
                   SaveName(wanted), "; a save is missing or out of order"));
}

// What of a header tells how to read the file and where it belongs.
std::string Layout(TableFileHeader header) {
  header.written_by.clear();
  for (TableFileHeader::Table& table : header.tables) table.expected_rows = 0;
  return absl::StrCat(header.version, EncodeHeader(header));
}

}  // namespace

absl::StatusOr<std::vector<SavedFiles>> FindSaves(
    tensorflow::Env* env, absl::Span<const std::string> files,
    absl::Span<const std::string> save_ids) {
  std::vector<SavedFile> all(files.size());
  const auto read_header = [&](size_t i) -> absl::Status {
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                        TableFileReader::Open(env, files[i]));
    all[i] = {files[i], reader->header()};
    return save_ids.empty() ? absl::OkStatus() : CheckIsOf(all[i], save_ids[i]);
  };
  TF_RETURN_IF_ERROR(ForEachInThreads(env, files.size(), read_header));
  std::vector<SavedFiles> saves;
  for (SavedFile& file : all) {
    if (saves.empty() ||
        saves.back().front().header.save.id != file.header.save.id) {
      saves.emplace_back();
    }
    saves.back().push_back(std::move(file));
  }
  for (size_t i = 0; i < saves.size(); ++i) {
    TF_RETURN_IF_ERROR(CheckComplete(saves[i]));
    TF_RETURN_IF_ERROR(
        CheckFollows(saves[i], i == 0 ? nullptr : &saves[i - 1]));
  }
  return saves;
}

absl::StatusOr<std::unique_ptr<TableFileReader>> Reopen(tensorflow::Env* env,
                                                        const SavedFile& file) {
  TF_ASSIGN_OR_RETURN(std::unique_ptr<TableFileReader> reader,
                      TableFileReader::Open(env, file.name));
  if (Layout(reader->header()) == Layout(file.header)) return reader;
  return absl::UnknownError(absl::StrCat(
      "table file ", file.name, " was replaced by another while it was read"));
}

}  // namespace monolith
