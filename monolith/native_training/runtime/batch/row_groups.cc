#include "monolith/native_training/runtime/batch/row_groups.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {
namespace {

// Floats [begin, end) of a value buffer that a feature's rows lie in.
struct Range {
  int64_t begin = kMaxBufferFloats;
  int64_t end = 0;
  int feature = 0;
};

// Sets of features, each named by one of its members.
class FeatureSets {
 public:
  explicit FeatureSets(size_t num_features) : parent_(num_features) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }

  int Find(int feature) {
    while (parent_[feature] != feature) feature = parent_[feature];
    return feature;
  }

  void Join(int a, int b) { parent_[Find(a)] = Find(b); }

 private:
  std::vector<int> parent_;
};

// (num_shards) ranges of one feature, whose slices end at `width` in a row.
std::vector<Range> RangesOfFeature(int feature, const FeatureRows& rows,
                                   int64_t width, int num_shards) {
  std::vector<Range> ranges(num_shards);
  for (Range& range : ranges) range.feature = feature;
  for (int64_t entry : rows.index) {
    const int64_t shard = ShardOfIndex(entry);
    if (shard < 0 || shard >= num_shards) continue;
    const int64_t offset = OffsetOfIndex(entry);
    Range& range = ranges[shard];
    range.begin = std::min(range.begin, offset);
    range.end = std::max(range.end, offset + width);
  }
  return ranges;
}

}  // namespace

std::vector<std::vector<int>> GroupSlicesByRows(
    absl::Span<const PooledSlice> slices,
    absl::Span<const FeatureRows> features, int num_shards) {
  std::vector<int64_t> widths(features.size(), 0);
  for (const PooledSlice& slice : slices) {
    int64_t& width = widths[slice.feature];
    width = std::max(width, slice.offset + slice.dim);
  }
  std::vector<std::vector<Range>> ranges_of_shard(num_shards);
  for (size_t f = 0; f < features.size(); ++f) {
    const std::vector<Range> ranges = RangesOfFeature(
        static_cast<int>(f), features[f], widths[f], num_shards);
    for (int s = 0; s < num_shards; ++s) {
      if (ranges[s].end > 0) ranges_of_shard[s].push_back(ranges[s]);
    }
  }
  FeatureSets sets(features.size());
  for (std::vector<Range>& ranges : ranges_of_shard) {
    std::sort(ranges.begin(), ranges.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    // Of the ranges so far, `last` reaches furthest.
    Range last;
    for (const Range& range : ranges) {
      if (range.begin < last.end) sets.Join(range.feature, last.feature);
      if (range.end > last.end) last = range;
    }
  }
  std::vector<std::vector<int>> group_of_set(features.size());
  for (size_t o = 0; o < slices.size(); ++o) {
    group_of_set[sets.Find(slices[o].feature)].push_back(static_cast<int>(o));
  }
  std::vector<std::vector<int>> groups;
  for (std::vector<int>& group : group_of_set) {
    if (!group.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace monolith
