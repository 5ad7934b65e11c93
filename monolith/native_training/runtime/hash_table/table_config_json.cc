// The JSON form of table_config.h: parsing and printing.

#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "nlohmann/json.hpp"

namespace monolith {
namespace {

using Json = nlohmann::json;

absl::Status WrongValue(const std::string& where, absl::string_view wanted,
                        const Json& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("table config: ", where, " must be ", wanted, ", got ",
                   got.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

// Finds keys that an object has twice; nlohmann::json keeps the last silently.
class DuplicateKeyFinder {
 public:
  bool operator()(int /*depth*/, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      open_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      open_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const std::string key = parsed.get<std::string>();
      if (!open_.back().insert(key).second && duplicate_.empty()) {
        duplicate_ = absl::StrCat("'", key, "'");
      }
    }
    return true;
  }

  const std::string& duplicate() const { return duplicate_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::string duplicate_;  // quoted; empty if there is none
};

absl::StatusOr<Json> ParseText(absl::string_view text) {
  DuplicateKeyFinder finder;
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), std::ref(finder));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("table config is not valid JSON: ", error.what()));
  }
  if (!finder.duplicate().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "table config: an object has the key ", finder.duplicate(), " twice"));
  }
  return json;
}

// InvalidArgument unless `json` is an object with all of `required` keys and
// none but these and `optional`.
absl::Status CheckKeys(const std::string& where, const Json& json,
                       const std::set<std::string>& required,
                       const std::set<std::string>& optional) {
  if (!json.is_object()) return WrongValue(where, "an object", json);
  for (const auto& [key, value] : json.items()) {
    if (required.count(key) || optional.count(key)) continue;
    std::set<std::string> known = required;
    known.insert(optional.begin(), optional.end());
    return absl::InvalidArgumentError(
        absl::StrCat("table config: ", where, " has an unknown key '", key,
                     "'; known are ", absl::StrJoin(known, ", ")));
  }
  for (const std::string& key : required) {
    if (json.contains(key)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("table config: ", where, " has no '", key, "'"));
  }
  return absl::OkStatus();
}

// The Read functions leave `out` as it is when the key is absent.
absl::Status ReadString(const std::string& where, const Json& object,
                        const char* key, std::string* out) {
  auto it = object.find(key);
  if (it == object.end()) return absl::OkStatus();
  if (!it->is_string()) {
    return WrongValue(absl::StrCat(where, ".", key), "a string", *it);
  }
  *out = it->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadInt(const std::string& where, const Json& object,
                     const char* key, int* out) {
  auto it = object.find(key);
  if (it == object.end()) return absl::OkStatus();
  const bool fits = it->is_number_integer() &&
                    *it >= std::numeric_limits<int>::min() &&
                    *it <= std::numeric_limits<int>::max();
  if (!fits) {
    return WrongValue(absl::StrCat(where, ".", key), "a 32-bit integer", *it);
  }
  *out = it->get<int>();
  return absl::OkStatus();
}

absl::Status ReadSeed(const std::string& where, const Json& object,
                      uint64_t* out) {
  auto it = object.find("seed");
  if (it == object.end()) return absl::OkStatus();
  const bool fits =
      it->is_number_unsigned() &&
      it->get<uint64_t>() <=
          static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!fits) {
    return WrongValue(where + ".seed", "an integer from 0 to 2^63 - 1", *it);
  }
  *out = it->get<uint64_t>();
  return absl::OkStatus();
}

absl::Status ReadDouble(const std::string& where, const Json& object,
                        const char* key, double* out) {
  auto it = object.find(key);
  if (it == object.end()) return absl::OkStatus();
  if (!it->is_number()) {
    return WrongValue(absl::StrCat(where, ".", key), "a number", *it);
  }
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::Status ReadComponent(const std::string& parent, const Json& object,
                           const std::string& key, ComponentConfig* out,
                           int depth = 1) {
  auto it = object.find(key);
  if (it == object.end()) return absl::OkStatus();
  const std::string where = absl::StrCat(parent, ".", key);
  if (!it->is_object()) return WrongValue(where, "an object", *it);
  if (!it->contains("type")) {
    return absl::InvalidArgumentError(
        absl::StrCat("table config: ", where, " has no 'type'"));
  }
  if (depth > ComponentConfig::kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("table config: ", where, " is nested deeper than ",
                     ComponentConfig::kMaxDepth, " levels"));
  }
  *out = ComponentConfig();
  absl::Status status = ReadString(where, *it, "type", &out->type);
  if (!status.ok()) return status;
  for (const auto& [name, value] : it->items()) {
    if (name == "type") continue;
    if (value.is_boolean()) {
      out->params[name] = value.get<bool>() ? 1 : 0;
    } else if (value.is_number()) {
      out->params[name] = value.get<double>();
    } else if (value.is_object()) {
      ComponentConfig& wrapped =
          out->components.emplace_back(name, ComponentConfig()).second;
      status = ReadComponent(where, *it, name, &wrapped, depth + 1);
      if (!status.ok()) return status;
    } else {
      return WrongValue(absl::StrCat(where, ".", name),
                        "a number, a boolean or an object", value);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SegmentConfig> ReadSegment(const std::string& where,
                                          const Json& json) {
  SegmentConfig segment;
  absl::Status status =
      CheckKeys(where, json, {"name", "dim"},
                {"seed", "initializer", "optimizer", "compressor"});
  if (!status.ok()) return status;
  status.Update(ReadString(where, json, "name", &segment.name));
  status.Update(ReadInt(where, json, "dim", &segment.dim));
  status.Update(ReadSeed(where, json, &segment.seed));
  status.Update(
      ReadComponent(where, json, "initializer", &segment.initializer));
  status.Update(ReadComponent(where, json, "optimizer", &segment.optimizer));
  status.Update(ReadComponent(where, json, "compressor", &segment.compressor));
  if (!status.ok()) return status;
  return segment;
}

absl::StatusOr<TableConfig> ReadTable(const std::string& where,
                                      const Json& json) {
  TableConfig table;
  absl::Status status =
      CheckKeys(where, json, {"name", "segments"},
                {"occurrence_threshold", "admission_capacity", "expire_time"});
  if (!status.ok()) return status;
  status.Update(ReadString(where, json, "name", &table.name));
  status.Update(ReadInt(where, json, "occurrence_threshold",
                        &table.occurrence_threshold));
  status.Update(
      ReadInt(where, json, "admission_capacity", &table.admission_capacity));
  status.Update(
      ReadDouble(where, json, "expire_time", &table.expire_time_days));
  if (!status.ok()) return status;
  const Json& segments = json["segments"];
  if (!segments.is_array()) {
    return WrongValue(where + ".segments", "an array", segments);
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    auto segment =
        ReadSegment(absl::StrCat(where, ".segments[", i, "]"), segments[i]);
    if (!segment.ok()) return segment.status();
    table.segments.push_back(*std::move(segment));
  }
  status = ValidateTableConfig(table);
  if (!status.ok()) return status;
  return table;
}

Json ComponentToJson(const ComponentConfig& component) {
  Json json = {{"type", component.type}};
  for (const auto& [name, value] : component.params) json[name] = value;
  for (const auto& [name, wrapped] : component.components) {
    json[name] = ComponentToJson(wrapped);
  }
  return json;
}

}  // namespace

absl::StatusOr<TableConfig> ParseTableConfig(absl::string_view json) {
  auto parsed = ParseText(json);
  if (!parsed.ok()) return parsed.status();
  return ReadTable("table", *parsed);
}

absl::StatusOr<std::vector<TableConfig>> ParseTableConfigs(
    absl::string_view json) {
  auto parsed = ParseText(json);
  if (!parsed.ok()) return parsed.status();
  absl::Status status = CheckKeys("the top level", *parsed, {"tables"}, {});
  if (!status.ok()) return status;
  const Json& tables = (*parsed)["tables"];
  if (!tables.is_array() || tables.empty()) {
    return WrongValue("tables", "an array of at least one table", tables);
  }
  std::vector<TableConfig> configs;
  std::set<std::string> names;
  for (size_t i = 0; i < tables.size(); ++i) {
    auto table = ReadTable(absl::StrCat("tables[", i, "]"), tables[i]);
    if (!table.ok()) return table.status();
    if (!names.insert(table->name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "table config: two tables have the name '", table->name, "'"));
    }
    configs.push_back(*std::move(table));
  }
  return configs;
}

std::string ToJson(const TableConfig& config) {
  Json segments = Json::array();
  for (const SegmentConfig& segment : config.segments) {
    segments.push_back({
        {"name", segment.name},
        {"dim", segment.dim},
        {"seed", segment.seed},
        {"initializer", ComponentToJson(segment.initializer)},
        {"optimizer", ComponentToJson(segment.optimizer)},
        {"compressor", ComponentToJson(segment.compressor)},
    });
  }
  const Json json = {{"name", config.name},
                     {"occurrence_threshold", config.occurrence_threshold},
                     {"admission_capacity", config.admission_capacity},
                     {"expire_time", config.expire_time_days},
                     {"segments", segments}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace monolith
