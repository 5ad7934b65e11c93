// Row splits describe a ragged batch: `splits` has batch + 1 entries, and
// example i owns the values [splits[i], splits[i + 1]).
//
// Example: splits {0, 2, 2, 3} are three examples with 2, 0 and 1 values.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_SPLITS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_SPLITS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace monolith {

// InvalidArgument, beginning with `name`, unless the splits start at 0, never
// fall and end at `num_values`.
absl::Status CheckRowSplits(absl::string_view name,
                            absl::Span<const int64_t> splits,
                            int64_t num_values);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_ROW_SPLITS_H_
