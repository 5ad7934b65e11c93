#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "blocks are written from memory as they are");

namespace monolith {
namespace {

using Json = nlohmann::json;
using RowBatch = EmbeddingHashTable::RowBatch;

constexpr int kVersion = 3;
constexpr int kOldestVersion = 1;
constexpr int kFirstWithShards = 2;
constexpr int kFirstWithSaves = 3;
constexpr absl::string_view kHeaderTag = "MTH1";
constexpr absl::string_view kBlockTag = "MTB1";
constexpr absl::string_view kErasedTag = "MTE1";
constexpr absl::string_view kTrialsTag = "MTT1";
constexpr absl::string_view kFooterTag = "MTF1";
constexpr size_t kTagSize = 4;
// Of a row: far above what any optimizer keeps, far below overflow.
constexpr int64_t kMaxStateDim = int64_t{1} << 24;

struct BlockHeader {
  char tag[kTagSize];
  uint32_t table;
  uint32_t dim;
  uint32_t state_dim;
  uint64_t n;
};
static_assert(sizeof(BlockHeader) == 24, "no padding");

struct ErasedHeader {
  char tag[kTagSize];
  uint32_t table;
  uint64_t n;
};
static_assert(sizeof(ErasedHeader) == 16, "no padding");

struct TrialsHeader {
  char tag[kTagSize];
  uint32_t table;
  uint32_t stripe;
  uint32_t num_buckets;
  uint64_t n;
};
static_assert(sizeof(TrialsHeader) == 24, "no padding");
constexpr size_t kTrialBytes = sizeof(Trial::bucket) +
                               sizeof(Trial::fingerprint) +
                               sizeof(Trial::occurrences) + sizeof(Trial::age);

// The JSON after the tag; a discarded value if it is not JSON.
Json ParseJson(absl::string_view record) {
  const absl::string_view text = record.substr(kTagSize);
  return Json::parse(text.begin(), text.end(), /*cb=*/nullptr,
                     /*allow_exceptions=*/false);
}

template <typename T>
void AppendColumn(const std::vector<T>& column, size_t begin, size_t end,
                  std::string* record) {
  record->append(reinterpret_cast<const char*>(column.data() + begin),
                 (end - begin) * sizeof(T));
}

template <typename T>
void TakeColumn(size_t size, const char** from, std::vector<T>* column) {
  column->resize(size);
  if (size == 0) return;
  std::memcpy(column->data(), *from, size * sizeof(T));
  *from += size * sizeof(T);
}

// A column of trials [begin, end), a member of each.
template <typename T>
void AppendMember(const std::vector<Trial>& trials, size_t begin, size_t end,
                  T Trial::*member, std::string* record) {
  for (size_t i = begin; i < end; ++i) {
    record->append(reinterpret_cast<const char*>(&(trials[i].*member)),
                   sizeof(T));
  }
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

int TableFileHeader::Table::dim() const {
  int dim = 0;
  for (const SegmentConfig& segment : config.segments) dim += segment.dim;
  return dim;
}

int TableFileHeader::Table::state_dim() const {
  return std::accumulate(state_dims.begin(), state_dims.end(), 0);
}

TableRecordKind KindOfRecord(absl::string_view record) {
  if (absl::StartsWith(record, kHeaderTag)) return TableRecordKind::kHeader;
  if (absl::StartsWith(record, kBlockTag)) return TableRecordKind::kBlock;
  if (absl::StartsWith(record, kErasedTag)) return TableRecordKind::kErased;
  if (absl::StartsWith(record, kTrialsTag)) return TableRecordKind::kTrials;
  if (absl::StartsWith(record, kFooterTag)) return TableRecordKind::kFooter;
  return TableRecordKind::kUnknown;
}

std::string EncodeHeader(const TableFileHeader& header) {
  Json json = {{"version", kVersion},
               {"written_by", header.written_by},
               {"shard", {header.shard.index, header.shard.count}},
               {"save", header.save.id},
               {"base", header.save.base},
               {"file", {header.save.file_index, header.save.num_files}},
               {"tables", Json::array()}};
  for (const TableFileHeader::Table& table : header.tables) {
    json["tables"].push_back({{"config", Json::parse(ToJson(table.config))},
                              {"state_dims", table.state_dims}});
  }
  return absl::StrCat(kHeaderTag, json.dump());
}

absl::StatusOr<TableFileHeader> DecodeHeader(absl::string_view record) {
  if (KindOfRecord(record) != TableRecordKind::kHeader) {
    return absl::DataLossError("it does not start with a table file's header");
  }
  const Json json = ParseJson(record);
  if (!json.is_object() || !json.value("version", Json()).is_number_integer()) {
    return absl::DataLossError("its header is not readable");
  }
  if (json["version"] < kOldestVersion || json["version"] > kVersion) {
    return absl::DataLossError(absl::StrCat(
        "its format version is ", json["version"].dump(),
        ", this program reads versions ", kOldestVersion, " to ", kVersion));
  }
  if (!json.contains("tables") || !json["tables"].is_array()) {
    return absl::DataLossError("its header lists no tables");
  }
  TableFileHeader header;
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

std::string EncodeBlock(uint32_t table, int dim, int state_dim,
                        const RowBatch& rows, size_t begin, size_t end) {
  BlockHeader header;
  std::memcpy(header.tag, kBlockTag.data(), kTagSize);
  header.table = table;
  header.dim = static_cast<uint32_t>(dim);
  header.state_dim = static_cast<uint32_t>(state_dim);
  header.n = end - begin;
  std::string record;
  record.reserve(sizeof(header) +
                 header.n * (sizeof(int64_t) + sizeof(uint32_t) +
                             sizeof(float) * (dim + state_dim)));
  record.append(reinterpret_cast<const char*>(&header), sizeof(header));
  AppendColumn(rows.ids, begin, end, &record);
  AppendColumn(rows.embeddings, begin * dim, end * dim, &record);
  AppendColumn(rows.states, begin * state_dim, end * state_dim, &record);
  AppendColumn(rows.update_times, begin, end, &record);
  return record;
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

std::string EncodeErased(uint32_t table, absl::Span<const int64_t> ids) {
  ErasedHeader header;
  std::memcpy(header.tag, kErasedTag.data(), kTagSize);
  header.table = table;
  header.n = ids.size();
  std::string record(reinterpret_cast<const char*>(&header), sizeof(header));
  record.append(reinterpret_cast<const char*>(ids.data()),
                ids.size() * sizeof(int64_t));
  return record;
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

std::string EncodeTrials(uint32_t table, uint32_t stripe,
                         const TrialBatch& batch, size_t begin, size_t end) {
  TrialsHeader header;
  std::memcpy(header.tag, kTrialsTag.data(), kTagSize);
  header.table = table;
  header.stripe = stripe;
  header.num_buckets = batch.num_buckets;
  header.n = end - begin;
  std::string record;
  record.reserve(sizeof(header) + header.n * kTrialBytes);
  record.append(reinterpret_cast<const char*>(&header), sizeof(header));
  AppendMember(batch.trials, begin, end, &Trial::bucket, &record);
  AppendMember(batch.trials, begin, end, &Trial::fingerprint, &record);
  AppendMember(batch.trials, begin, end, &Trial::occurrences, &record);
  AppendMember(batch.trials, begin, end, &Trial::age, &record);
  return record;
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

std::string EncodeFooter(const TableFileFooter& footer) {
  Json json = {{"rows", Json::array()},
               {"trials", Json::array()},
               {"erased", Json::array()}};
  for (const TableCounts& counts : footer) {
    json["rows"].push_back(counts.rows);
    json["trials"].push_back(counts.trials);
    json["erased"].push_back(counts.erased);
  }
  return absl::StrCat(kFooterTag, json.dump());
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
