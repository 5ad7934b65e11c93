#include "monolith/native_training/runtime/hash_table/initializer/constants_initializer.h"

#include <algorithm>

#include "monolith/native_training/runtime/hash_table/component_params.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Initializer>> ConstantsInitializer::CreateZeros(
    const InitializerConfig& config) {
  auto params = ReadParams("initializer", config, {});
  if (!params.ok()) return params.status();
  return std::make_unique<ConstantsInitializer>(0.0f);
}

absl::StatusOr<std::unique_ptr<Initializer>> ConstantsInitializer::Create(
    const InitializerConfig& config) {
  auto params = ReadParams("initializer", config, {{"constant", 0.0}});
  if (!params.ok()) return params.status();
  return std::make_unique<ConstantsInitializer>(
      static_cast<float>(params->at("constant")));
}

void ConstantsInitializer::Fill(uint64_t /*seed*/, int64_t /*id*/,
                                absl::Span<float> values) const {
  std::fill(values.begin(), values.end(), constant_);
}

}  // namespace monolith
