#include "monolith/native_training/runtime/hash_table/initializer/random_normal_initializer.h"

#include <cmath>
#include <cstddef>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/initializer/counter_random.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<Initializer>> RandomNormalInitializer::Create(
    const InitializerConfig& config) {
  auto params = ReadParams("initializer", config,
                           {{"mean", 0.0}, AtLeast(0, "stddev", 0.05)});
  if (!params.ok()) return params.status();
  return std::make_unique<RandomNormalInitializer>(params->at("mean"),
                                                   params->at("stddev"));
}

void RandomNormalInitializer::Fill(uint64_t seed, int64_t id,
                                   absl::Span<float> values) const {
  constexpr double kTwoPi = 6.283185307179586;
  const CounterRandom random(seed, id);
  const size_t n = values.size();
  for (size_t i = 0; i < n; i += 2) {
    const uint64_t word = random.Word(i / 2);
    const double radius =
        stddev_ * std::sqrt(-2.0 * std::log(CounterRandom::LowUniform(word)));
    const double angle = kTwoPi * CounterRandom::HighUniform(word);
    values[i] = static_cast<float>(mean_ + radius * std::cos(angle));
    if (i + 1 == n) break;
    values[i + 1] = static_cast<float>(mean_ + radius * std::sin(angle));
  }
}

}  // namespace monolith
