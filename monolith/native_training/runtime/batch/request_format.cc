#include "monolith/native_training/runtime/batch/request_format.h"

#include <algorithm>
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
  // Never overflows: `left` only shrinks.
  int64_t left = static_cast<int64_t>(request.size()) - num_tables;
  const int64_t body = left;
  int64_t num_ids = 0;
  for (int t = 0; t < num_tables; ++t) {
    const int64_t count = request[t] & ~kOccurrencesFlag;
    const int64_t occurrences =
        request[t] == count ? 0 : OccurrenceNumbers(count);
    if (request[t] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("request's count of table ", t, " is ", request[t],
                       ", wanted 0 or more"));
    }
    if (count <= left && occurrences > left - count) {
      return absl::InvalidArgumentError(
          absl::StrCat("request must have occurrences of the ", count,
                       " ids of table ", t, ", as its count says, but only ",
                       left - count, " numbers are left for them"));
    }
    if (count > left) {
      return absl::InvalidArgumentError(
          absl::StrCat("request's counts must add up to its ", body,
                       " ids, but the count of table ", t, " is ", count,
                       " where only ", left, " ids are left"));
    }
    view.counts.push_back(count);
    num_ids += count;
    left -= count + occurrences;
  }
  if (left != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("request's counts add up to ", body - left,
                     ", but it has ", body, " ids"));
  }
  view.ids = request.subspan(num_tables, num_ids);
  size_t next = static_cast<size_t>(num_tables + num_ids);
  for (int t = 0; t < num_tables; ++t) {
    const bool flagged = request[t] != view.counts[t];
    const auto numbers =
        static_cast<size_t>(flagged ? OccurrenceNumbers(view.counts[t]) : 0);
    view.occurrences.push_back(request.subspan(next, numbers));
    next += numbers;
  }
  return view;
}

void PackOccurrences(absl::Span<const uint16_t> occurrences,
                     absl::Span<int64_t> numbers) {
  for (size_t n = 0; n < numbers.size(); ++n) {
    uint64_t packed = 0;
    for (size_t i = 4 * n; i < std::min(4 * n + 4, occurrences.size()); ++i) {
      packed |= uint64_t{occurrences[i]} << 16 * (i % 4);
    }
    numbers[n] = static_cast<int64_t>(packed);
  }
}

void UnpackOccurrences(absl::Span<const int64_t> numbers,
                       absl::Span<uint16_t> occurrences) {
  for (size_t i = 0; i < occurrences.size(); ++i) {
    occurrences[i] = static_cast<uint16_t>(
        static_cast<uint64_t>(numbers[i / 4]) >> 16 * (i % 4));
  }
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
