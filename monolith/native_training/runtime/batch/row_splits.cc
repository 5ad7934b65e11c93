#include "monolith/native_training/runtime/batch/row_splits.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace monolith {

absl::Status CheckRowSplits(absl::string_view name,
                            absl::Span<const int64_t> splits,
                            int64_t num_values) {
  if (splits.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must have batch size + 1 entries, got none"));
  }
  if (splits.front() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must start at 0, got ", splits.front()));
  }
  for (size_t i = 1; i < splits.size(); ++i) {
    if (splits[i] < splits[i - 1]) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " must not fall, got ", splits[i - 1],
                       " followed by ", splits[i], " at entry ", i));
    }
  }
  if (splits.back() != num_values) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must end at the number of ids, got ",
                     splits.back(), ", wanted ", num_values));
  }
  return absl::OkStatus();
}

}  // namespace monolith
