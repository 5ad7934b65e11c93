#include "monolith/native_training/runtime/batch/pool_gradient.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/row_groups.h"
#include "monolith/native_training/runtime/batch/value_buffers.h"
#include "monolith/native_training/runtime/concurrency/executor.h"
#include "monolith/native_training/runtime/hash_table/finite_check.h"

namespace monolith {
namespace {

using Gradients = absl::Span<const absl::Span<const float>>;
using Buffers = absl::Span<const absl::Span<float>>;

// Below this many floats added, waking threads costs more than it saves.
constexpr int64_t kMinParallelFloats = 256 * 1024;

// Calls visit(example, position, from, scale) for each id whose row receives
// scale * from[0 .. dim), in order. Stops when visit returns false.
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

// to[0 .. dim) += scale * from[0 .. dim). Returns whether `from` is finite:
// checked on the way, because reading large gradients twice takes longer than
// adding them.
bool Add(const float* from, float scale, int64_t dim, float* to) {
  uint32_t bad = 0;
  for (int64_t d = 0; d < dim; ++d) {
    bad |= IsFinite(from[d]) ? 0u : 1u;
    to[d] += scale * from[d];
  }
  return bad == 0;
}

// Returns whether all gradients that reached a row were finite.
absl::StatusOr<bool> AddSlice(const PooledSlice& slice, const FeatureRows& rows,
                              const float* gradient, Buffers buffers) {
  bool finite = true;
  int64_t bad_position = -1;
  ForEachContribution(
      slice, rows, gradient,
      [&](int64_t, int64_t position, const float* from, float scale) {
        float* to = FindSlice(buffers, rows.index[position], slice);
        if (to == nullptr) {
          bad_position = position;
          return false;
        }
        finite &= Add(from, scale, slice.dim, to);
        return true;
      });
  if (bad_position < 0) return finite;
  return BadIndexError(slice, rows, bad_position);
}

// Same for some slices, given by their positions.
absl::StatusOr<bool> AddSlices(absl::Span<const int> chosen,
                               absl::Span<const PooledSlice> slices,
                               absl::Span<const FeatureRows> features,
                               Gradients gradients, Buffers buffers) {
  bool all_finite = true;
  for (int o : chosen) {
    absl::StatusOr<bool> finite = AddSlice(
        slices[o], features[slices[o].feature], gradients[o].data(), buffers);
    if (!finite.ok()) return finite;
    all_finite &= *finite;
  }
  return all_finite;
}

// Names the first gradient that is not finite and would reach a row.
absl::Status NotFiniteError(absl::Span<const PooledSlice> slices,
                            absl::Span<const FeatureRows> features,
                            Gradients gradients) {
  absl::Status status = absl::InternalError("no gradient is not finite");
  for (size_t o = 0; o < slices.size(); ++o) {
    const PooledSlice& slice = slices[o];
    const bool all_finite = ForEachContribution(
        slice, features[slice.feature], gradients[o].data(),
        [&](int64_t example, int64_t, const float* from, float) {
          for (int64_t d = 0; d < slice.dim; ++d) {
            if (IsFinite(from[d])) continue;
            status = absl::InvalidArgumentError(absl::StrCat(
                "gradient of ", slice.name, " is not finite: ", from[d],
                " at example ", example, ", position ", d,
                "; nothing was updated. A smaller learning rate, clipped "
                "gradients or a look at the example's inputs may help"));
            return false;
          }
          return true;
        });
    if (!all_finite) break;
  }
  return status;
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
    work += static_cast<int64_t>(rows.index.size()) * slice.dim;
  }
  const bool parallel =
      work >= kMinParallelFloats && executor.num_threads() > 1;
  Executor& threads = parallel ? executor : InlineExecutor::Get();
  threads.ParallelFor(value_gradients.size(), [&](int64_t s) {
    std::fill(value_gradients[s].begin(), value_gradients[s].end(), 0.0f);
  });
  std::vector<std::vector<int>> groups;
  if (parallel) {
    groups = GroupSlicesByRows(slices, features, value_gradients.size());
  } else {
    groups.emplace_back(slices.size());
    std::iota(groups[0].begin(), groups[0].end(), 0);
  }
  std::vector<absl::StatusOr<bool>> finite(groups.size(), true);
  threads.ParallelFor(groups.size(), [&](int64_t g) {
    finite[g] =
        AddSlices(groups[g], slices, features, gradients, value_gradients);
  });
  for (const absl::StatusOr<bool>& group : finite) {
    if (!group.ok()) return group.status();
  }
  for (const absl::StatusOr<bool>& group : finite) {
    if (!*group) return NotFiniteError(slices, features, gradients);
  }
  return absl::OkStatus();
}

}  // namespace monolith
