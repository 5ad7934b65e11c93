#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_INTERFACE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_INTERFACE_H_

#include <cstdint>

#include "absl/types/span.h"

namespace monolith {

// The initial embedding of an id in one segment.
//
// A pure function of seed, id and position: no state, no order. A value at a
// position does not depend on how many positions are asked for.
//
// Thread safety: implementations are immutable and thread-safe.
class Initializer {
 public:
  virtual ~Initializer() = default;

  // Overwrites all of `values`; values[i] is that of position i.
  virtual void Fill(uint64_t seed, int64_t id,
                    absl::Span<float> values) const = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_INITIALIZER_INITIALIZER_INTERFACE_H_
