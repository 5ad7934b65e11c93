#include "monolith/native_training/runtime/batch/global_norm.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace monolith {
namespace {

constexpr size_t kPerTask = 1 << 16;  // floats that are worth a thread

// Several sums side by side, so that the loop vectorizes.
double SumOfSquares(absl::Span<const float> values) {
  constexpr size_t kLanes = 8;
  double sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      sums[lane] += value * value;
    }
  }
  double total = 0;
  for (; i < values.size(); ++i) {
    total += static_cast<double>(values[i]) * values[i];
  }
  for (const double sum : sums) total += sum;
  return total;
}

size_t NumTasks(size_t n) { return (n + kPerTask - 1) / kPerTask; }

}  // namespace

double GlobalNorm(absl::Span<const absl::Span<const float>> arrays,
                  Executor& executor) {
  double total = 0;
  std::vector<double> parts;
  for (const absl::Span<const float> array : arrays) {
    if (array.size() <= kPerTask) {
      total += SumOfSquares(array);
      continue;
    }
    parts.resize(NumTasks(array.size()));
    executor.ParallelFor(static_cast<int64_t>(parts.size()), [&](int64_t task) {
      parts[task] = SumOfSquares(array.subspan(task * kPerTask, kPerTask));
    });
    for (const double part : parts) total += part;
  }
  return std::sqrt(total);
}

void Scale(absl::Span<const float> values, double factor, Executor& executor,
           absl::Span<float> scaled) {
  const size_t n = values.size();
  executor.ParallelFor(static_cast<int64_t>(NumTasks(n)), [&](int64_t task) {
    const size_t begin = task * kPerTask;
    const size_t end = std::min(n, begin + kPerTask);
    for (size_t i = begin; i < end; ++i) {
      scaled[i] = static_cast<float>(values[i] * factor);
    }
  });
}

}  // namespace monolith
