#include "monolith/native_training/runtime/hash_table/gradient_sums.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "monolith/native_training/runtime/hash_table/clamped_sum.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"
#include "monolith/native_training/runtime/hash_table/prefetch.h"
#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"

namespace monolith {
namespace {

constexpr uint32_t kEmpty = 0xffffffff;

void AddOccurrences(uint32_t more, uint32_t* occurrences) {
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  *occurrences = more > kMost - *occurrences ? kMost : *occurrences + more;
}

size_t NumSlots(size_t entries) {
  size_t slots = 16;
  while (slots < 2 * entries) slots *= 2;
  return slots;
}

}  // namespace

GradientSums::GradientSums(absl::Span<const int64_t> ids,
                           absl::Span<const float> gradients, size_t dim,
                           absl::Span<const uint32_t> positions,
                           const Counting& counting)
    : dim_(dim) {
  const size_t n = positions.size();
  entries_.reserve(n);
  if (counting.is_wanted) occurrences_.reserve(n);
  // A small hash table with linear probing: slot -> index in entries_.
  const size_t mask = NumSlots(n) - 1;
  std::vector<uint32_t> slots(mask + 1, kEmpty);
  for (size_t i = 0; i < n; ++i) {
    if (i + kPrefetchDistance < n) {
      PrefetchBlock(gradients.data() + positions[i + kPrefetchDistance] * dim,
                    dim * sizeof(float));
    }
    const int64_t id = ids[positions[i]];
    const float* const gradient = gradients.data() + positions[i] * dim;
    const uint32_t occurrences =
        counting.occurrences.empty() ? 1 : counting.occurrences[positions[i]];
    // The highest bits chose the stripe and are all alike here.
    size_t slot = HashId(id) & mask;
    while (slots[slot] != kEmpty && entries_[slots[slot]].id != id) {
      slot = (slot + 1) & mask;
    }
    if (slots[slot] == kEmpty) {
      slots[slot] = static_cast<uint32_t>(entries_.size());
      entries_.push_back({id, gradient});
      if (counting.is_wanted) occurrences_.push_back(occurrences);
    } else {
      if (counting.is_wanted) {
        AddOccurrences(occurrences, &occurrences_[slots[slot]]);
      }
      Add(gradient, n / 2, &entries_[slots[slot]]);
    }
  }
}

void GradientSums::Add(const float* gradient, size_t max_sums, Entry* entry) {
  // Not zeroed: what is never used takes no memory either.
  if (!sums_) sums_.reset(new float[max_sums * dim_]);
  const float* const begin = sums_.get();
  const float* const end = begin + num_sums_ * dim_;
  const bool has_sum = !std::less<const float*>()(entry->gradient, begin) &&
                       std::less<const float*>()(entry->gradient, end);
  if (!has_sum) {
    float* const sum = sums_.get() + num_sums_++ * dim_;
    std::memcpy(sum, entry->gradient, dim_ * sizeof(float));
    entry->gradient = sum;
  }
  AddClamped(gradient, dim_, sums_.get() + (entry->gradient - sums_.get()));
}

}  // namespace monolith
