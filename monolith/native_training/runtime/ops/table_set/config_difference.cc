#include "monolith/native_training/runtime/ops/table_set/config_difference.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {
namespace {

std::string Describe(const ComponentConfig& config) {
  std::vector<std::string> params;
  for (const auto& [name, value] : config.params) {
    params.push_back(absl::StrCat(name, "=", value));
  }
  for (const auto& [name, wrapped] : config.components) {
    params.push_back(absl::StrCat(name, "=", Describe(wrapped)));
  }
  return absl::StrCat(config.type, "(", absl::StrJoin(params, ", "), ")");
}

template <typename Value>
std::string Compare(absl::string_view what, const Value& there,
                    const Value& wanted) {
  if (there == wanted) return "";
  return absl::StrCat(what, " is ", there, ", not ", wanted);
}

std::string Compare(absl::string_view what, const ComponentConfig& there,
                    const ComponentConfig& wanted) {
  if (there == wanted) return "";
  return Compare(what, Describe(there), Describe(wanted));
}

std::string CompareSegments(const SegmentConfig& there,
                            const SegmentConfig& wanted) {
  for (const std::string& difference :
       {Compare("name", there.name, wanted.name),
        Compare("dim", there.dim, wanted.dim),
        Compare("seed", there.seed, wanted.seed),
        Compare("initializer", there.initializer, wanted.initializer),
        Compare("optimizer", there.optimizer, wanted.optimizer),
        Compare("compressor", there.compressor, wanted.compressor)}) {
    if (!difference.empty()) return difference;
  }
  return "";
}

std::string CompareTables(const TableConfig& there, const TableConfig& wanted) {
  for (const std::string& difference :
       {Compare("name", there.name, wanted.name),
        Compare("number of segments", there.segments.size(),
                wanted.segments.size()),
        Compare("occurrence threshold", there.occurrence_threshold,
                wanted.occurrence_threshold),
        Compare("admission capacity", there.admission_capacity,
                wanted.admission_capacity),
        Compare("expire time in days", there.expire_time_days,
                wanted.expire_time_days)}) {
    if (!difference.empty()) {
      return absl::StrCat("table ", there.name, ": ", difference);
    }
  }
  for (size_t s = 0; s < there.segments.size(); ++s) {
    const std::string difference =
        CompareSegments(there.segments[s], wanted.segments[s]);
    if (!difference.empty()) {
      return absl::StrCat("segment ", there.segments[s].name, " of table ",
                          there.name, ": ", difference);
    }
  }
  return "";
}

}  // namespace

std::string FindConfigDifference(absl::Span<const TableConfig> there,
                                 absl::Span<const TableConfig> wanted) {
  if (there.size() != wanted.size()) {
    return Compare("number of tables", there.size(), wanted.size());
  }
  for (size_t t = 0; t < there.size(); ++t) {
    std::string difference = CompareTables(there[t], wanted[t]);
    if (!difference.empty()) return difference;
  }
  return "";
}

}  // namespace monolith
