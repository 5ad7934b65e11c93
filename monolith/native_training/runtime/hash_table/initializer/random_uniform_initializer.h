#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_UNIFORM_INITIALIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_UNIFORM_INITIALIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Values spread evenly over [minval, maxval].
class RandomUniformInitializer final : public Initializer {
 public:
  // Type "random_uniform": "minval" (default -0.05), "maxval" (0.05).
  static absl::StatusOr<std::unique_ptr<Initializer>> Create(
      const InitializerConfig& config);

  RandomUniformInitializer(double minval, double maxval)
      : minval_(minval), width_(maxval - minval) {}

  void Fill(uint64_t seed, int64_t id, absl::Span<float> values) const override;

 private:
  const double minval_;
  const double width_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_UNIFORM_INITIALIZER_H_
