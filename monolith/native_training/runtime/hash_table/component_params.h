#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Reading the parameters of an initializer or optimizer: fills in defaults,
// refuses names it does not have and values out of range.
//
// Thread safety: plain functions.
//
// Example:
//   auto params = ReadParams("optimizer", config, {{"learning_rate", .01}});
//   if (!params.ok()) return params.status();
//   float rate = params->at("learning_rate");

struct ParamSpec {
  std::string name;
  double default_value = 0;
  // The least value that is allowed; the greatest is float's.
  double minimum = -3.4028234663852886e38;
  // Whether the minimum itself is refused.
  bool above_minimum = false;
};

// All parameters of `specs` by name. `kind` ("optimizer") is for messages.
absl::StatusOr<std::map<std::string, double>> ReadParams(
    absl::string_view kind, const ComponentConfig& config,
    const std::vector<ParamSpec>& specs);

// InvalidArgument that names the type asked for and those there are.
absl::Status UnknownTypeError(absl::string_view kind, absl::string_view type,
                              const std::vector<std::string>& known);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_COMPONENT_PARAMS_H_
