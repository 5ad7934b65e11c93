#include "monolith/native_training/runtime/hash_table/initializer/random_uniform_initializer.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/initializer/counter_random.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Initializer>> RandomUniformInitializer::Create(
    const InitializerConfig& config) {
  auto params =
      ReadParams("initializer", config, {{"minval", -0.05}, {"maxval", 0.05}});
  if (!params.ok()) return params.status();
  const double minval = params->at("minval");
  const double maxval = params->at("maxval");
  if (minval > maxval) {
    return absl::InvalidArgumentError(
        absl::StrCat("initializer 'random_uniform': 'minval' must not exceed "
                     "'maxval', got ",
                     minval, " and ", maxval));
  }
  return std::make_unique<RandomUniformInitializer>(minval, maxval);
}

void RandomUniformInitializer::Fill(uint64_t seed, int64_t id,
                                    absl::Span<float> values) const {
  const CounterRandom random(seed, id);
  const size_t n = values.size();
  for (size_t i = 0; i < n; i += 2) {
    const uint64_t word = random.Word(i / 2);
    values[i] =
        static_cast<float>(minval_ + width_ * CounterRandom::LowUniform(word));
    if (i + 1 == n) break;
    values[i + 1] =
        static_cast<float>(minval_ + width_ * CounterRandom::HighUniform(word));
  }
}

}  // namespace monolith
