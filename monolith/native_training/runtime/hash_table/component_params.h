#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Reading the parameters of an initializer, optimizer or compressor: fills in
// defaults, refuses names it does not have and values out of range.
//
// Thread safety: plain functions.
//
// Example:
//   auto params = ReadParams("optimizer", config,
//                            {AtLeast(0, "learning_rate", .01),
//                             Fraction("momentum", .9)});
//   if (!params.ok()) return params.status();
//   float rate = params->at("learning_rate");

// A parameter and the values that it may have, all of which are finite and stay
// in range as floats.
struct ParamSpec {
  std::string name;
  double default_value = 0;
  // The least value that is allowed, unless the minimum itself is refused.
  float minimum = -std::numeric_limits<float>::max();
  bool above_minimum = false;
  // Values must be below this.
  float limit = std::numeric_limits<float>::infinity();
  // Only 0 and 1 are allowed.
  bool is_flag = false;
};

// The usual ranges: [minimum, ...), (bound, ...), [0, 1), {0, 1}.
ParamSpec AtLeast(float minimum, std::string name, double default_value);
ParamSpec Above(float bound, std::string name, double default_value);
ParamSpec Fraction(std::string name, double default_value);
ParamSpec Flag(std::string name, bool default_value);

// All parameters of `specs` by name. `kind` ("optimizer") is for messages.
// Components that `config` wraps are refused.
absl::StatusOr<std::map<std::string, double>> ReadParams(
    absl::string_view kind, const ComponentConfig& config,
    const std::vector<ParamSpec>& specs);

// InvalidArgument that names the type asked for and those there are.
absl::Status UnknownTypeError(absl::string_view kind, absl::string_view type,
                              const std::vector<std::string>& known);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_
