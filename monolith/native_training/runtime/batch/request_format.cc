#include "monolith/native_training/runtime/batch/request_format.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace monolith {

absl::StatusOr<RequestView> ParseRequest(absl::Span<const int64_t> request,
                                         int num_tables) {
  if (static_cast<int64_t>(request.size()) < num_tables) {
    return absl::InvalidArgumentError(
        absl::StrCat("request must start with one count per table: got ",
                     request.size(), " numbers, wanted at least ", num_tables));
  }
  RequestView view;
  view.counts = request.subspan(0, num_tables);
  view.ids = request.subspan(num_tables);
  // Never overflows: `left` only shrinks.
  int64_t left = view.ids.size();
  for (int t = 0; t < num_tables; ++t) {
    const int64_t count = view.counts[t];
    if (count < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "request's count of table ", t, " is ", count, ", wanted 0 or more"));
    }
    if (count > left) {
      return absl::InvalidArgumentError(
          absl::StrCat("request's counts must add up to its ", view.ids.size(),
                       " ids, but the count of table ", t, " is ", count,
                       " where only ", left, " ids are left"));
    }
    left -= count;
  }
  if (left != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("request's counts add up to ", view.ids.size() - left,
                     ", but it has ", view.ids.size(), " ids"));
  }
  return view;
}

absl::StatusOr<int64_t> ValueBufferSize(const RequestView& request,
                                        absl::Span<const int64_t> table_dims) {
  int64_t size = 0;
  for (size_t t = 0; t < table_dims.size(); ++t) {
    int64_t floats = 0;
    if (__builtin_mul_overflow(request.counts[t], table_dims[t], &floats) ||
        floats >= kMaxBufferFloats - size) {
      return absl::InvalidArgumentError(
          absl::StrCat("request's values do not fit in 2^", kIndexOffsetBits,
                       " floats: table ", t, " has ", request.counts[t],
                       " ids of dim ", table_dims[t]));
    }
    size += floats;
  }
  return size;
}

}  // namespace monolith
