// The decoders of table_file_format.h.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/record_layout.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {
namespace {

using Json = nlohmann::json;

constexpr int kOldestVersion = 1;
constexpr int kFirstWithShards = 2;
constexpr int kFirstWithSaves = 3;
// Of a row: far above what any optimizer keeps, far below overflow.
constexpr int64_t kMaxStateDim = int64_t{1} << 24;

// Of values in each other, far above what there is: each that is printed takes
// room on the stack.
constexpr int kMaxJsonDepth = 64;

// The JSON after the tag; a discarded value if it is not JSON, or too deep.
Json ParseJson(absl::string_view record) {
  const absl::string_view text = record.substr(kTagSize);
  bool is_too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, const Json&) {
    is_too_deep |= depth > kMaxJsonDepth;
    return !is_too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), keep,
                          /*allow_exceptions=*/false);
  return is_too_deep ? Json(Json::value_t::discarded) : json;
}

template <typename T>
void TakeColumn(size_t size, const char** from, std::vector<T>* column) {
  column->resize(size);
  if (size == 0) return;
  std::memcpy(column->data(), *from, size * sizeof(T));
  *from += size * sizeof(T);
}

template <typename T>
void TakeMember(T Trial::*member, const char** from,
                std::vector<Trial>* trials) {
  for (Trial& trial : *trials) {
    std::memcpy(&(trial.*member), *from, sizeof(T));
    *from += sizeof(T);
  }
}

bool IsListOfCounts(const Json& json) {
  if (!json.is_array()) return false;
  for (const Json& element : json) {
    if (!element.is_number_integer() || element.get<int64_t>() < 0) {
      return false;
    }
  }
  return true;
}

// A list of index and count.
bool ReadPart(const Json& json, int* index, int* count) {
  if (!IsListOfCounts(json) || json.size() != 2 || json[0] >= json[1] ||
      json[1] > std::numeric_limits<int>::max()) {
    return false;
  }
  *index = json[0].get<int>();
  *count = json[1].get<int>();
  return true;
}

bool ReadSave(const Json& header, TableSave* save) {
  const Json id = header.value("save", Json());
  const Json base = header.value("base", Json());
  if (!id.is_string() || !base.is_string()) return false;
  save->id = id.get<std::string>();
  save->base = base.get<std::string>();
  return ReadPart(header.value("file", Json()), &save->file_index,
                  &save->num_files);
}

// Counts of each table; none of anything where the footer does not say.
bool ReadCounts(const Json& footer, const char* name,
                int64_t TableCounts::*member, TableFileFooter* counts) {
  const Json json =
      footer.value(name, Json(std::vector<int64_t>(counts->size())));
  if (!IsListOfCounts(json) || json.size() != counts->size()) return false;
  for (size_t t = 0; t < counts->size(); ++t) {
    (*counts)[t].*member = json[t].get<int64_t>();
  }
  return true;
}

absl::StatusOr<TableFileHeader::Table> DecodeTable(const Json& json) {
  if (!json.is_object() || !json.contains("config") ||
      !json.contains("state_dims") || !IsListOfCounts(json["state_dims"])) {
    return absl::DataLossError(
        "a table of the header lacks config or state_dims");
  }
  absl::StatusOr<TableConfig> config = ParseTableConfig(json["config"].dump());
  if (!config.ok()) {
    return absl::DataLossError(absl::StrCat(
        "the header describes a table wrongly: ", config.status().message()));
  }
  TableFileHeader::Table table;
  table.config = *std::move(config);
  const Json expected_rows = json.value("expected_rows", Json(0));
  if (!IsListOfCounts(Json::array({expected_rows}))) {
    return absl::DataLossError("a table of the header has no count of rows");
  }
  table.expected_rows = expected_rows.get<int64_t>();
  int64_t state_dim = 0;
  for (const Json& element : json["state_dims"]) {
    const int64_t floats = element.get<int64_t>();
    if (floats > kMaxStateDim - state_dim) {
      return absl::DataLossError(absl::StrCat(
          "table ", table.config.name, " of the header has rows of more than ",
          kMaxStateDim, " floats of optimizer state"));
    }
    state_dim += floats;
    table.state_dims.push_back(static_cast<int>(floats));
  }
  if (table.state_dims.size() != table.config.segments.size()) {
    return absl::DataLossError(
        absl::StrCat("table ", table.config.name, " of the header has ",
                     table.config.segments.size(), " segments, but ",
                     table.state_dims.size(), " state_dims"));
  }
  return table;
}

}  // namespace

absl::StatusOr<TableFileHeader> DecodeHeader(absl::string_view record) {
  if (KindOfRecord(record) != TableRecordKind::kHeader) {
    return absl::DataLossError("it does not start with a table file's header");
  }
  const Json json = ParseJson(record);
  if (!json.is_object() || !json.value("version", Json()).is_number_integer()) {
    return absl::DataLossError("its header is not readable");
  }
  if (json["version"] < kOldestVersion || json["version"] > kTableFileVersion) {
    return absl::DataLossError(
        absl::StrCat("its format version is ", json["version"].dump(),
                     ", this program reads versions ", kOldestVersion, " to ",
                     kTableFileVersion));
  }
  if (!json.contains("tables") || !json["tables"].is_array()) {
    return absl::DataLossError("its header lists no tables");
  }
  TableFileHeader header;
  header.version = json["version"].get<int>();
  if (json.contains("written_by") && json["written_by"].is_string()) {
    header.written_by = json["written_by"].get<std::string>();
  }
  if (json["version"] >= kFirstWithShards &&
      !ReadPart(json.value("shard", Json()), &header.shard.index,
                &header.shard.count)) {
    return absl::DataLossError("its header does not tell its shard");
  }
  if (json["version"] >= kFirstWithSaves && !ReadSave(json, &header.save)) {
    return absl::DataLossError("its header does not tell its save");
  }
  for (const Json& element : json["tables"]) {
    absl::StatusOr<TableFileHeader::Table> table = DecodeTable(element);
    if (!table.ok()) return table.status();
    header.tables.push_back(*std::move(table));
  }
  return header;
}

absl::StatusOr<RowBlock> DecodeBlock(absl::string_view record) {
  BlockHeader header;
  if (KindOfRecord(record) != TableRecordKind::kBlock ||
      record.size() < sizeof(header)) {
    return absl::DataLossError("a record is not a block of rows");
  }
  std::memcpy(&header, record.data(), sizeof(header));
  // At most 2^35 bytes a row, so a division tells what a product might
  // overflow.
  const uint64_t row_bytes =
      sizeof(int64_t) + sizeof(uint32_t) +
      sizeof(float) * (uint64_t{header.dim} + header.state_dim);
  const uint64_t body = record.size() - sizeof(header);
  if (body % row_bytes != 0 || body / row_bytes != header.n) {
    return absl::DataLossError(absl::StrCat("a block has ", body,
                                            " bytes of rows, wanted ", header.n,
                                            " rows of ", row_bytes, " bytes"));
  }
  RowBlock block;
  block.table = header.table;
  block.dim = header.dim;
  block.state_dim = header.state_dim;
  const char* from = record.data() + sizeof(header);
  TakeColumn(header.n, &from, &block.rows.ids);
  TakeColumn(header.n * header.dim, &from, &block.rows.embeddings);
  TakeColumn(header.n * header.state_dim, &from, &block.rows.states);
  TakeColumn(header.n, &from, &block.rows.update_times);
  return block;
}

absl::StatusOr<ErasedBlock> DecodeErased(absl::string_view record) {
  ErasedHeader header;
  if (KindOfRecord(record) != TableRecordKind::kErased ||
      record.size() < sizeof(header)) {
    return absl::DataLossError("a record is not of erased ids");
  }
  std::memcpy(&header, record.data(), sizeof(header));
  const uint64_t body = record.size() - sizeof(header);
  if (body % sizeof(int64_t) != 0 || body / sizeof(int64_t) != header.n) {
    return absl::DataLossError(
        absl::StrCat("a record has ", body, " bytes of erased ids, wanted ",
                     header.n, " of ", sizeof(int64_t), " bytes"));
  }
  ErasedBlock block;
  block.table = header.table;
  const char* from = record.data() + sizeof(header);
  TakeColumn(header.n, &from, &block.ids);
  return block;
}

absl::StatusOr<TrialBlock> DecodeTrials(absl::string_view record) {
  TrialsHeader header;
  if (KindOfRecord(record) != TableRecordKind::kTrials ||
      record.size() < sizeof(header)) {
    return absl::DataLossError("a record is not of ids on trial");
  }
  std::memcpy(&header, record.data(), sizeof(header));
  const uint64_t body = record.size() - sizeof(header);
  if (body % kTrialBytes != 0 || body / kTrialBytes != header.n) {
    return absl::DataLossError(
        absl::StrCat("a record has ", body, " bytes of ids on trial, wanted ",
                     header.n, " of ", kTrialBytes, " bytes"));
  }
  TrialBlock block;
  block.table = header.table;
  block.stripe = header.stripe;
  block.batch.num_buckets = header.num_buckets;
  block.batch.trials.resize(header.n);
  const char* from = record.data() + sizeof(header);
  TakeMember(&Trial::bucket, &from, &block.batch.trials);
  TakeMember(&Trial::fingerprint, &from, &block.batch.trials);
  TakeMember(&Trial::occurrences, &from, &block.batch.trials);
  TakeMember(&Trial::age, &from, &block.batch.trials);
  for (const Trial& trial : block.batch.trials) {
    if (trial.bucket < header.num_buckets && trial.age <= Trial::kMaxAge &&
        trial.fingerprint >> Trial::kFingerprintBits == 0) {
      continue;
    }
    return absl::DataLossError("an id on trial is out of range");
  }
  return block;
}

absl::StatusOr<TrialBlock> DecodeAged(absl::string_view record) {
  AgedHeader header;
  if (KindOfRecord(record) != TableRecordKind::kAged ||
      record.size() != sizeof(header)) {
    return absl::DataLossError("a record is not of how ids on trial have aged");
  }
  std::memcpy(&header, record.data(), sizeof(header));
  if (header.aged < 1 || header.aged > Trial::kMaxAge) {
    return absl::DataLossError("how ids on trial have aged is out of range");
  }
  TrialBlock block;
  block.table = header.table;
  block.stripe = header.stripe;
  block.batch.num_buckets = header.num_buckets;
  block.batch.aged = header.aged;
  return block;
}

absl::StatusOr<TableFileFooter> DecodeFooter(absl::string_view record) {
  if (KindOfRecord(record) != TableRecordKind::kFooter) {
    return absl::DataLossError("a record is not a footer");
  }
  const Json json = ParseJson(record);
  if (!json.is_object() || !IsListOfCounts(json.value("rows", Json()))) {
    return absl::DataLossError("its footer is not readable");
  }
  TableFileFooter footer(json["rows"].size());
  if (!ReadCounts(json, "rows", &TableCounts::rows, &footer) ||
      !ReadCounts(json, "trials", &TableCounts::trials, &footer) ||
      !ReadCounts(json, "erased", &TableCounts::erased, &footer)) {
    return absl::DataLossError("its footer is not readable");
  }
  return footer;
}

}  // namespace monolith
