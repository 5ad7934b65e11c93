// How ids and rows travel between a worker and the servers that hold the
// tables. This header is the only description of the format; the code that
// writes or reads it goes through the functions below.
//
// A *shard* is one server's share of all tables. Per step a worker sends each
// shard one request and gets one value buffer back:
//
//   request  int64 [num_tables + u + o]   u = number of distinct ids on the
//   shard
//     count of table 0, ..., count of table T-1,      sum of counts = u
//     ids of table 0, ids of table 1, ...
//     occurrences of each table that has them, in order
//
//   A table whose count has kOccurrencesFlag added has occurrences: how often
//   each of its ids stood in the batch, which decides when a table admits it.
//   They are four to a number, the first in the lowest 16 bits; 65535 stands
//   for more. A table's begin a new number, so there are ceil(count / 4).
//
//   values   float [sum over tables t of count_t * dim_t]
//     the rows of the request's ids, in the request's order, without gaps
//
// Gradients travel back in a buffer of exactly the layout of `values`.
//
// An *index entry* names one row of a value buffer. A worker keeps one entry
// per id of its batch, so that duplicates share a row:
//
//   int64 entry = (shard << 48) | offset
//     shard   15 bits, 0 .. 32767
//     offset  48 bits, in floats from the start of the shard's value buffer
//
// Example: two tables of dim 4 and 8, one shard.
//   request  {2, 1,  7, 9,  5}       ids 7, 9 of table 0; id 5 of table 1
//            {2 + kOccurrencesFlag, 1,  7, 9,  5,  3 + (1 << 16)}  the same,
//            and
//                                    7 occurs three times, 9 once
//   values   16 floats: row of 7 at 0, row of 9 at 4, row of 5 at 8
//   entry    of id 9: 4; of id 5: 8
//
// Everything here is stateless and thread-safe.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_REQUEST_FORMAT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_REQUEST_FORMAT_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace monolith {

inline constexpr int kIndexOffsetBits = 48;
inline constexpr int64_t kMaxShards = int64_t{1} << 15;
// Value buffers are smaller than this many floats.
inline constexpr int64_t kMaxBufferFloats = int64_t{1} << kIndexOffsetBits;
// Rows are at most this wide, which keeps every sum of an offset and a width
// far from overflow.
inline constexpr int64_t kMaxRowFloats = int64_t{1} << 30;

// REQUIRES: 0 <= shard < kMaxShards, 0 <= offset < kMaxBufferFloats.
constexpr int64_t EncodeIndex(int64_t shard, int64_t offset) {
  return (shard << kIndexOffsetBits) | offset;
}

// Negative for an entry that no EncodeIndex made.
constexpr int64_t ShardOfIndex(int64_t entry) {
  return entry >> kIndexOffsetBits;
}

constexpr int64_t OffsetOfIndex(int64_t entry) {
  return entry & (kMaxBufferFloats - 1);
}

// Added to the count of a table whose occurrences the request has.
inline constexpr int64_t kOccurrencesFlag = int64_t{1} << 62;
inline constexpr int64_t kMaxOccurrences = 65535;

// How many numbers the occurrences of `count` ids take. Cannot overflow.
constexpr int64_t OccurrenceNumbers(int64_t count) {
  return count / 4 + (count % 4 != 0);
}

// Writes occurrences the way a request has them.
// REQUIRES: OccurrenceNumbers(occurrences.size()) numbers.
void PackOccurrences(absl::Span<const uint16_t> occurrences,
                     absl::Span<int64_t> numbers);

// Reads the first occurrences.size() ones.
// REQUIRES: OccurrenceNumbers(occurrences.size()) numbers.
void UnpackOccurrences(absl::Span<const int64_t> numbers,
                       absl::Span<uint16_t> occurrences);

// A request taken apart; it points into the request and lives as long.
struct RequestView {
  absl::InlinedVector<int64_t, 8> counts;  // (num_tables), without flags
  absl::Span<const int64_t> ids;           // (sum of counts)
  // (num_tables) a table's occurrences as they are packed; empty without.
  absl::InlinedVector<absl::Span<const int64_t>, 8> occurrences;
};

// InvalidArgument unless the request has `num_tables` counts, none negative,
// that add up to the number of ids behind them, and then as many occurrences as
// the counts promise.
absl::StatusOr<RequestView> ParseRequest(absl::Span<const int64_t> request,
                                         int num_tables);

// The number of floats of the request's value buffer.
// InvalidArgument if it reaches kMaxBufferFloats.
// REQUIRES: as many dims as counts, every dim in 1 .. kMaxRowFloats.
absl::StatusOr<int64_t> ValueBufferSize(const RequestView& request,
                                        absl::Span<const int64_t> table_dims);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_REQUEST_FORMAT_H_
