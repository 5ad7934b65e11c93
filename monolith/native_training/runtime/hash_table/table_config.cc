#include "monolith/native_training/runtime/hash_table/table_config.h"

#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"

namespace monolith {
namespace {

absl::Status CheckComponent(const std::string& where, const char* kind,
                            const ComponentConfig& component) {
  if (component.type.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": the ", kind, " has no type"));
  }
  for (const auto& [name, value] : component.params) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": '", name, "' of the ", kind,
                       " must be a finite number, got ", value));
    }
  }
  for (const auto& [name, wrapped] : component.components) {
    absl::Status status =
        CheckComponent(absl::StrCat(where, ", ", kind), name.c_str(), wrapped);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckSegment(const std::string& where,
                          const SegmentConfig& segment) {
  if (segment.dim < 1 || segment.dim > TableConfig::kMaxTableDim) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": 'dim' must be from 1 to ",
                     TableConfig::kMaxTableDim, ", got ", segment.dim));
  }
  if (segment.seed > std::numeric_limits<int64_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": 'seed' must be below 2^63, got ", segment.seed));
  }
  absl::Status status =
      CheckComponent(where, "initializer", segment.initializer);
  status.Update(CheckComponent(where, "optimizer", segment.optimizer));
  status.Update(CheckComponent(where, "compressor", segment.compressor));
  return status;
}

absl::Status CheckSegments(const TableConfig& config,
                           const std::string& table) {
  if (config.segments.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(table, " has no segments; it needs at least one"));
  }
  int64_t table_dim = 0;
  std::set<std::string> names;
  for (const SegmentConfig& segment : config.segments) {
    if (segment.name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(table, " has a segment with an empty name"));
    }
    const std::string where =
        absl::StrCat(table, ", segment '", segment.name, "'");
    if (!names.insert(segment.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": two segments have this name"));
    }
    absl::Status status = CheckSegment(where, segment);
    if (!status.ok()) return status;
    table_dim += segment.dim;
  }
  if (table_dim > TableConfig::kMaxTableDim) {
    return absl::InvalidArgumentError(
        absl::StrCat(table, ": the dims of all segments sum up to ", table_dim,
                     "; at most ", TableConfig::kMaxTableDim, " are allowed"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateTableConfig(const TableConfig& config) {
  if (config.name.empty()) {
    return absl::InvalidArgumentError("a table has an empty name");
  }
  const std::string table = absl::StrCat("table '", config.name, "'");
  if (config.occurrence_threshold < 0 ||
      config.occurrence_threshold > TableConfig::kMaxOccurrenceThreshold) {
    return absl::InvalidArgumentError(
        absl::StrCat(table, ": 'occurrence_threshold' must be from 0 to ",
                     TableConfig::kMaxOccurrenceThreshold, ", got ",
                     config.occurrence_threshold));
  }
  if (config.admission_capacity < 1 ||
      config.admission_capacity > TableConfig::kMaxAdmissionCapacity) {
    return absl::InvalidArgumentError(
        absl::StrCat(table, ": 'admission_capacity' must be from 1 to ",
                     TableConfig::kMaxAdmissionCapacity, ", got ",
                     config.admission_capacity));
  }
  if (!(std::isfinite(config.expire_time_days) &&
        config.expire_time_days > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        table, ": 'expire_time' must be a positive number of days, got ",
        config.expire_time_days));
  }
  return CheckSegments(config, table);
}

}  // namespace monolith
