#include "monolith/native_training/runtime/batch/pool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/value_buffers.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {
namespace {

using Values = absl::Span<const absl::Span<const float>>;

// Below this many floats moved, waking threads costs more than it saves.
constexpr int64_t kMinParallelFloats = 256 * 1024;
// Floats moved by one task.
constexpr int64_t kTaskFloats = 64 * 1024;

// Examples [begin, end) of one slice.
struct Task {
  size_t slice;
  int64_t begin;
  int64_t end;
};

void Copy(const float* row, int64_t dim, float* out) {
  std::copy(row, row + dim, out);
}

absl::Status PoolSumOrMean(const PooledSlice& slice, const FeatureRows& rows,
                           Values values, int64_t begin, int64_t end,
                           float* out) {
  const int64_t dim = slice.dim;
  out += begin * dim;
  for (int64_t example = begin; example < end; ++example, out += dim) {
    const int64_t first = rows.row_splits[example];
    const int64_t last = rows.row_splits[example + 1];
    if (first == last) {
      std::fill(out, out + dim, 0.0f);
      continue;
    }
    for (int64_t i = first; i < last; ++i) {
      const float* row = FindSlice(values, rows.index[i], slice);
      if (row == nullptr) return BadIndexError(slice, rows, i);
      if (i == first) {
        Copy(row, dim, out);
      } else {
        for (int64_t d = 0; d < dim; ++d) out[d] += row[d];
      }
    }
    if (slice.combiner == Combiner::kMean && last - first > 1) {
      const float count = static_cast<float>(last - first);
      for (int64_t d = 0; d < dim; ++d) out[d] /= count;
    }
  }
  return absl::OkStatus();
}

absl::Status PoolFirstN(const PooledSlice& slice, const FeatureRows& rows,
                        Values values, int64_t begin, int64_t end, float* out) {
  const int64_t dim = slice.dim;
  out += begin * slice.length * dim;
  for (int64_t example = begin; example < end; ++example) {
    const int64_t first = rows.row_splits[example];
    const int64_t kept =
        std::min(rows.row_splits[example + 1] - first, slice.length);
    for (int64_t i = first; i < first + kept; ++i, out += dim) {
      const float* row = FindSlice(values, rows.index[i], slice);
      if (row == nullptr) return BadIndexError(slice, rows, i);
      Copy(row, dim, out);
    }
    const int64_t padding = (slice.length - kept) * dim;
    std::fill(out, out + padding, 0.0f);
    out += padding;
  }
  return absl::OkStatus();
}

absl::Status PoolNone(const PooledSlice& slice, const FeatureRows& rows,
                      Values values, int64_t begin, int64_t end, float* out) {
  const int64_t last = rows.row_splits[end];
  for (int64_t i = rows.row_splits[begin]; i < last; ++i) {
    const float* row = FindSlice(values, rows.index[i], slice);
    if (row == nullptr) return BadIndexError(slice, rows, i);
    Copy(row, slice.dim, out + i * slice.dim);
  }
  return absl::OkStatus();
}

absl::Status PoolExamples(const PooledSlice& slice, const FeatureRows& rows,
                          Values values, int64_t begin, int64_t end,
                          float* out) {
  switch (slice.combiner) {
    case Combiner::kSum:
    case Combiner::kMean:
      return PoolSumOrMean(slice, rows, values, begin, end, out);
    case Combiner::kFirstN:
      return PoolFirstN(slice, rows, values, begin, end, out);
    case Combiner::kNone:
      return PoolNone(slice, rows, values, begin, end, out);
  }
  return absl::InternalError("unknown combiner");
}

// Floats read and written for one slice, roughly.
int64_t Work(const FeatureRows& rows, size_t pooled_floats, int64_t dim) {
  return std::max<int64_t>(rows.index.size() * dim, pooled_floats);
}

}  // namespace

absl::Status Pool(absl::Span<const PooledSlice> slices,
                  absl::Span<const FeatureRows> features, Values values,
                  Executor& executor,
                  absl::Span<const absl::Span<float>> pooled) {
  if (pooled.size() != slices.size()) {
    return absl::InvalidArgumentError(absl::StrCat("got ", pooled.size(),
                                                   " output buffers for ",
                                                   slices.size(), " slices"));
  }
  int64_t total_work = 0;
  for (size_t o = 0; o < slices.size(); ++o) {
    const FeatureRows& rows = features[slices[o].feature];
    absl::StatusOr<int64_t> floats = PooledFloats(slices[o], rows);
    if (!floats.ok()) return floats.status();
    if (static_cast<int64_t>(pooled[o].size()) != *floats) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", slices[o].name, " has room for ",
                       pooled[o].size(), " floats, wanted ", *floats));
    }
    total_work += Work(rows, pooled[o].size(), slices[o].dim);
  }
  if (total_work < kMinParallelFloats || executor.num_threads() < 2) {
    for (size_t o = 0; o < slices.size(); ++o) {
      const FeatureRows& rows = features[slices[o].feature];
      absl::Status status = PoolExamples(slices[o], rows, values, 0,
                                         rows.batch_size(), pooled[o].data());
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  std::vector<Task> tasks;
  for (size_t o = 0; o < slices.size(); ++o) {
    const FeatureRows& rows = features[slices[o].feature];
    const int64_t batch = rows.batch_size();
    const int64_t work = Work(rows, pooled[o].size(), slices[o].dim);
    const int64_t parts =
        std::min(batch, (work + kTaskFloats - 1) / kTaskFloats);
    for (int64_t p = 0; p < parts; ++p) {
      tasks.push_back({o, batch * p / parts, batch * (p + 1) / parts});
    }
  }
  std::vector<absl::Status> statuses(tasks.size());
  executor.ParallelFor(tasks.size(), [&](int64_t i) {
    const Task& task = tasks[i];
    const PooledSlice& slice = slices[task.slice];
    statuses[i] = PoolExamples(slice, features[slice.feature], values,
                               task.begin, task.end, pooled[task.slice].data());
  });
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace monolith
