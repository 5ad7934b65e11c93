#include "monolith/native_training/runtime/hash_table/component_params.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace monolith {
namespace {

absl::Status CheckRange(absl::string_view kind, const std::string& type,
                        const ParamSpec& spec, double value) {
  const bool in_range =
      std::isfinite(value) && value <= std::numeric_limits<float>::max() &&
      (spec.above_minimum ? value > spec.minimum : value >= spec.minimum);
  if (in_range) return absl::OkStatus();
  const bool bounded = spec.minimum > -std::numeric_limits<float>::max();
  return absl::InvalidArgumentError(absl::StrCat(
      kind, " '", type, "': '", spec.name, "' must be a finite float",
      bounded ? (spec.above_minimum ? " above " : " of at least ") : "",
      bounded ? absl::StrCat(spec.minimum) : "", ", got ", value));
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> ReadParams(
    absl::string_view kind, const ComponentConfig& config,
    const std::vector<ParamSpec>& specs) {
  std::map<std::string, double> values;
  for (const ParamSpec& spec : specs) values[spec.name] = spec.default_value;
  for (const auto& [name, value] : config.params) {
    auto it = values.find(name);
    if (it == values.end()) {
      std::vector<std::string> names;
      for (const ParamSpec& spec : specs) names.push_back(spec.name);
      return absl::InvalidArgumentError(absl::StrCat(
          kind, " '", config.type, "' has no parameter '", name, "'; it has ",
          names.empty() ? "none" : absl::StrJoin(names, ", ")));
    }
    it->second = value;
  }
  for (const ParamSpec& spec : specs) {
    absl::Status status =
        CheckRange(kind, config.type, spec, values.at(spec.name));
    if (!status.ok()) return status;
  }
  return values;
}

absl::Status UnknownTypeError(absl::string_view kind, absl::string_view type,
                              const std::vector<std::string>& known) {
  return absl::InvalidArgumentError(absl::StrCat("there is no ", kind, " '",
                                                 type, "'; there are ",
                                                 absl::StrJoin(known, ", ")));
}

}  // namespace monolith
