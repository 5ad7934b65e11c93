#include "monolith/native_training/runtime/hash_table/initializer/initializer_factory.h"

#include <map>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/initializer/constants_initializer.h"
#include "monolith/native_training/runtime/hash_table/initializer/random_normal_initializer.h"
#include "monolith/native_training/runtime/hash_table/initializer/random_uniform_initializer.h"

namespace monolith {
namespace {

using Factory =
    absl::StatusOr<std::unique_ptr<Initializer>> (*)(const InitializerConfig&);

const std::map<std::string, Factory>& Factories() {
  static const auto* const factories = new std::map<std::string, Factory>{
      {"constants", ConstantsInitializer::Create},
      {"random_normal", RandomNormalInitializer::Create},
      {"random_uniform", RandomUniformInitializer::Create},
      {"zeros", ConstantsInitializer::CreateZeros},
  };
  return *factories;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Initializer>> CreateInitializer(
    const InitializerConfig& config) {
  auto it = Factories().find(config.type);
  if (it == Factories().end()) {
    return UnknownTypeError("initializer", config.type, InitializerTypes());
  }
  return it->second(config);
}

std::vector<std::string> InitializerTypes() {
  std::vector<std::string> types;
  for (const auto& [type, factory] : Factories()) types.push_back(type);
  return types;
}

}  // namespace monolith
