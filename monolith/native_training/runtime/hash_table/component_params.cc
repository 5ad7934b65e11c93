#include "monolith/native_training/runtime/hash_table/component_params.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace monolith {
namespace {

// "a finite float of at least 0 and below 1".
std::string DescribeRange(const ParamSpec& spec) {
  if (spec.is_flag) return "0 or 1";
  std::string range = "a finite float";
  const bool has_minimum = spec.minimum > -std::numeric_limits<float>::max();
  if (has_minimum) {
    absl::StrAppend(&range, spec.above_minimum ? " above " : " of at least ",
                    spec.minimum);
  }
  if (std::isfinite(spec.limit)) {
    absl::StrAppend(&range, has_minimum ? " and" : "", " below ", spec.limit);
  }
  return range;
}

bool IsInRange(const ParamSpec& spec, double value) {
  if (spec.is_flag) return value == 0 || value == 1;
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) return false;
  const float rounded = static_cast<float>(value);
  return (spec.above_minimum ? rounded > spec.minimum
                             : rounded >= spec.minimum) &&
         rounded < spec.limit;
}

absl::Status NoSuchParam(absl::string_view kind, const ComponentConfig& config,
                         const std::string& name,
                         const std::vector<ParamSpec>& specs) {
  std::vector<std::string> names;
  for (const ParamSpec& spec : specs) names.push_back(spec.name);
  return absl::InvalidArgumentError(absl::StrCat(
      kind, " '", config.type, "' has no parameter '", name, "'; it has ",
      names.empty() ? "none" : absl::StrJoin(names, ", ")));
}

}  // namespace

ParamSpec AtLeast(float minimum, std::string name, double default_value) {
  ParamSpec spec;
  spec.name = std::move(name);
  spec.default_value = default_value;
  spec.minimum = minimum;
  return spec;
}

ParamSpec Above(float bound, std::string name, double default_value) {
  ParamSpec spec = AtLeast(bound, std::move(name), default_value);
  spec.above_minimum = true;
  return spec;
}

ParamSpec Fraction(std::string name, double default_value) {
  ParamSpec spec = AtLeast(0, std::move(name), default_value);
  spec.limit = 1;
  return spec;
}

ParamSpec Flag(std::string name, bool default_value) {
  ParamSpec spec = AtLeast(0, std::move(name), default_value ? 1 : 0);
  spec.is_flag = true;
  return spec;
}

absl::StatusOr<std::map<std::string, double>> ReadParams(
    absl::string_view kind, const ComponentConfig& config,
    const std::vector<ParamSpec>& specs) {
  std::map<std::string, double> values;
  for (const ParamSpec& spec : specs) values[spec.name] = spec.default_value;
  for (const auto& [name, value] : config.params) {
    auto it = values.find(name);
    if (it == values.end()) return NoSuchParam(kind, config, name, specs);
    it->second = value;
  }
  for (const auto& [name, component] : config.components) {
    if (!values.count(name)) return NoSuchParam(kind, config, name, specs);
    return absl::InvalidArgumentError(
        absl::StrCat(kind, " '", config.type, "': '", name,
                     "' must be a number, got a '", component.type, "'"));
  }
  for (const ParamSpec& spec : specs) {
    const double value = values.at(spec.name);
    if (IsInRange(spec, value)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(kind, " '", config.type, "': '", spec.name, "' must be ",
                     DescribeRange(spec), ", got ", value));
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
