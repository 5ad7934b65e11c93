#include "monolith/native_training/runtime/ops/table_files/saved_files.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_reader.h"
#include "tensorflow/core/platform/statusor.h"

namespace monolith {
namespace {

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
  const auto name = [](const std::string& id) {
    return id.empty() ? std::string("none") : absl::StrCat("save ", id);
  };
  return absl::DataLossError(
      absl::StrCat("table file ", save.front().name, " has the changes since ",
                   name(base), ", but what comes before it is ", name(wanted),
                   "; a save is missing or out of order"));
}

}  // namespace

absl::StatusOr<std::vector<SavedFiles>> FindSaves(
    tensorflow::Env* env, absl::Span<const std::string> files) {
  std::vector<SavedFiles> saves;
  for (const std::string& name : files) {
    TF_ASSIGN_OR_RETURN(const std::unique_ptr<TableFileReader> reader,
                        TableFileReader::Open(env, name));
    if (saves.empty() ||
        saves.back().front().header.save.id != reader->header().save.id) {
      saves.emplace_back();
    }
    saves.back().push_back({name, reader->header()});
  }
  for (size_t i = 0; i < saves.size(); ++i) {
    TF_RETURN_IF_ERROR(CheckComplete(saves[i]));
    TF_RETURN_IF_ERROR(
        CheckFollows(saves[i], i == 0 ? nullptr : &saves[i - 1]));
  }
  return saves;
}

}  // namespace monolith
