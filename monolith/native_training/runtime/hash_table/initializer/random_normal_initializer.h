#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_NORMAL_INITIALIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_NORMAL_INITIALIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Normally distributed values (Box and Muller, 1958), at most 6.8 standard
// deviations from the mean.
class RandomNormalInitializer final : public Initializer {
 public:
  // Type "random_normal": "mean" (default 0), "stddev" (0.05, at least 0).
  static absl::StatusOr<std::unique_ptr<Initializer>> Create(
      const InitializerConfig& config);

  RandomNormalInitializer(double mean, double stddev)
      : mean_(mean), stddev_(stddev) {}

  void Fill(uint64_t seed, int64_t id, absl::Span<float> values) const override;

 private:
  const double mean_;
  const double stddev_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_RANDOM_NORMAL_INITIALIZER_H_
