#include "monolith/native_training/runtime/batch/pool_gradient.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/finite.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/value_buffers.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {
namespace {

using Gradients = absl::Span<const absl::Span<const float>>;
using Buffers = absl::Span<const absl::Span<float>>;

// Below this many floats added, waking threads costs more than it saves.
constexpr int64_t kMinParallelFloats = 256 * 1024;
// Every part reads the whole index, so many parts stop paying off.
constexpr int kMaxParts = 8;

// Calls visit(position, gradient, scale) for each id whose row receives
// scale * gradient[0 .. dim), example by example. Stops when visit returns
// false.
template <typename Visit>
bool ForEachContribution(const PooledSlice& slice, const FeatureRows& rows,
                         const float* gradient, Visit visit) {
  const int64_t batch = rows.batch_size();
  const int64_t dim = slice.dim;
  for (int64_t example = 0; example < batch; ++example) {
    const int64_t first = rows.row_splits[example];
    const int64_t last = rows.row_splits[example + 1];
    switch (slice.combiner) {
      case Combiner::kSum:
      case Combiner::kMean: {
        const float scale = slice.combiner == Combiner::kMean && last > first
                                ? 1.0f / static_cast<float>(last - first)
                                : 1.0f;
        for (int64_t i = first; i < last; ++i) {
          if (!visit(example, i, gradient + example * dim, scale)) return false;
        }
        break;
      }
      case Combiner::kFirstN: {
        const int64_t kept = std::min(last - first, slice.length);
        const float* from = gradient + example * slice.length * dim;
        for (int64_t k = 0; k < kept; ++k) {
          if (!visit(example, first + k, from + k * dim, 1.0f)) return false;
        }
        break;
      }
      case Combiner::kNone:
        for (int64_t i = first; i < last; ++i) {
          if (!visit(example, i, gradient + i * dim, 1.0f)) return false;
        }
        break;
    }
  }
  return true;
}

absl::Status CheckFinite(const PooledSlice& slice, const FeatureRows& rows,
                         absl::Span<const float> gradient) {
  if (FindNonFinite(gradient) < 0) return absl::OkStatus();
  absl::Status status;
  ForEachContribution(
      slice, rows, gradient.data(),
      [&](int64_t example, int64_t, const float* from, float) {
        const int64_t at = FindNonFinite(absl::MakeSpan(from, slice.dim));
        if (at < 0) return true;
        status = absl::InvalidArgumentError(absl::StrCat(
            "gradient of ", slice.name, " is not finite: ", from[at],
            " at example ", example, ", position ", at,
            "; nothing was updated. A smaller learning rate, clipped "
            "gradients or a look at the example's inputs may help"));
        return false;
      });
  return status;
}

absl::Status CheckIndex(const PooledSlice& slice, const FeatureRows& rows,
                        Buffers buffers) {
  for (size_t i = 0; i < rows.index.size(); ++i) {
    if (FindSlice(buffers, rows.index[i], slice) == nullptr) {
      return BadIndexError(slice, rows, i);
    }
  }
  return absl::OkStatus();
}

// Which of `num_parts` parts a row belongs to. Hashed, because the rows that
// many examples share come first in a buffer.
int PartOfRow(int64_t entry, int num_parts) {
  const uint64_t mixed =
      (static_cast<uint64_t>(entry) * uint64_t{0x9e3779b97f4a7c15}) >> 32;
  return static_cast<int>((mixed * num_parts) >> 32);
}

// Adds what the rows of one part receive; all rows if num_parts is 1.
void AddPart(absl::Span<const PooledSlice> slices,
             absl::Span<const FeatureRows> features, Gradients gradients,
             Buffers buffers, int part, int num_parts) {
  for (size_t o = 0; o < slices.size(); ++o) {
    const PooledSlice& slice = slices[o];
    const FeatureRows& rows = features[slice.feature];
    ForEachContribution(
        slice, rows, gradients[o].data(),
        [&](int64_t, int64_t position, const float* from, float scale) {
          const int64_t entry = rows.index[position];
          if (num_parts > 1 && PartOfRow(entry, num_parts) != part) {
            return true;
          }
          float* to = FindSlice(buffers, entry, slice);
          const int64_t dim = slice.dim;
          for (int64_t d = 0; d < dim; ++d) to[d] += scale * from[d];
          return true;
        });
  }
}

}  // namespace

absl::Status PoolGradient(absl::Span<const PooledSlice> slices,
                          absl::Span<const FeatureRows> features,
                          Gradients gradients, Executor& executor,
                          Buffers value_gradients) {
  if (gradients.size() != slices.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", gradients.size(), " gradients for ", slices.size(), " slices"));
  }
  int64_t work = 0;
  for (size_t o = 0; o < slices.size(); ++o) {
    const PooledSlice& slice = slices[o];
    const FeatureRows& rows = features[slice.feature];
    absl::StatusOr<int64_t> floats = PooledFloats(slice, rows);
    if (!floats.ok()) return floats.status();
    if (static_cast<int64_t>(gradients[o].size()) != *floats) {
      return absl::InvalidArgumentError(
          absl::StrCat("gradient of ", slice.name, " has ", gradients[o].size(),
                       " floats, wanted ", *floats));
    }
    absl::Status status = CheckIndex(slice, rows, value_gradients);
    if (status.ok()) status = CheckFinite(slice, rows, gradients[o]);
    if (!status.ok()) return status;
    work += static_cast<int64_t>(rows.index.size()) * slice.dim;
  }
  for (absl::Span<float> buffer : value_gradients) {
    std::fill(buffer.begin(), buffer.end(), 0.0f);
  }
  const int parts = work < kMinParallelFloats
                        ? 1
                        : std::clamp(executor.num_threads(), 1, kMaxParts);
  if (parts == 1) {
    AddPart(slices, features, gradients, value_gradients, 0, 1);
  } else {
    executor.ParallelFor(parts, [&](int64_t part) {
      AddPart(slices, features, gradients, value_gradients,
              static_cast<int>(part), parts);
    });
  }
  return absl::OkStatus();
}

}  // namespace monolith
