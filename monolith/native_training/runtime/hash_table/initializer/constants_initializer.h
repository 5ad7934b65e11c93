#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_CONSTANTS_INITIALIZER_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_CONSTANTS_INITIALIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// Every value is the same number.
class ConstantsInitializer final : public Initializer {
 public:
  // Type "zeros": no parameters.
  static absl::StatusOr<std::unique_ptr<Initializer>> CreateZeros(
      const InitializerConfig& config);

  // Type "constants": "constant" (default 0).
  static absl::StatusOr<std::unique_ptr<Initializer>> Create(
      const InitializerConfig& config);

  explicit ConstantsInitializer(float constant) : constant_(constant) {}

  void Fill(uint64_t seed, int64_t id, absl::Span<float> values) const override;

 private:
  const float constant_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_CONSTANTS_INITIALIZER_H_
