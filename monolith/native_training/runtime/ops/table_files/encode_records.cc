// The encoders of table_file_format.h.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/record_layout.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {
namespace {

using Json = nlohmann::json;
using RowBatch = EmbeddingHashTable::RowBatch;

// Names may be any bytes: what is not UTF-8 is replaced, instead of thrown.
std::string Dump(const Json& json) {
  return json.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace);
}

template <typename T>
void AppendColumn(const std::vector<T>& column, size_t begin, size_t end,
                  std::string* record) {
  record->append(reinterpret_cast<const char*>(column.data() + begin),
                 (end - begin) * sizeof(T));
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

}  // namespace

std::string EncodeHeader(const TableFileHeader& header) {
  Json json = {{"version", kTableFileVersion},
               {"written_by", header.written_by},
               {"shard", {header.shard.index, header.shard.count}},
               {"save", header.save.id},
               {"base", header.save.base},
               {"file", {header.save.file_index, header.save.num_files}},
               {"tables", Json::array()}};
  for (const TableFileHeader::Table& table : header.tables) {
    json["tables"].push_back({{"config", Json::parse(ToJson(table.config))},
                              {"state_dims", table.state_dims},
                              {"expected_rows", table.expected_rows}});
  }
  return absl::StrCat(kHeaderTag, Dump(json));
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

std::string EncodeAged(uint32_t table, uint32_t stripe,
                       const TrialBatch& batch) {
  AgedHeader header;
  std::memcpy(header.tag, kAgedTag.data(), kTagSize);
  header.table = table;
  header.stripe = stripe;
  header.num_buckets = batch.num_buckets;
  header.aged = batch.aged;
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header));
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
  return absl::StrCat(kFooterTag, Dump(json));
}

}  // namespace monolith
