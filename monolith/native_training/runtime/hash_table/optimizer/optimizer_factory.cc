#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

#include <map>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/sgd_optimizer.h"

namespace monolith {
namespace {

using Factory =
    absl::StatusOr<std::unique_ptr<Optimizer>> (*)(const OptimizerConfig&);

const std::map<std::string, Factory>& Factories() {
  static const auto* const factories = new std::map<std::string, Factory>{
      {"adagrad", AdagradOptimizer::Create},
      {"sgd", SgdOptimizer::Create},
  };
  return *factories;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(
    const OptimizerConfig& config) {
  auto it = Factories().find(config.type);
  if (it == Factories().end()) {
    return UnknownTypeError("optimizer", config.type, OptimizerTypes());
  }
  return it->second(config);
}

std::vector<std::string> OptimizerTypes() {
  std::vector<std::string> types;
  for (const auto& [type, factory] : Factories()) types.push_back(type);
  return types;
}

}  // namespace monolith
