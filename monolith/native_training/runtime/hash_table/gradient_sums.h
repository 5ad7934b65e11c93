#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_GRADIENT_SUMS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_GRADIENT_SUMS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"

namespace monolith {

// The distinct ids of a part of a batch, each with the sum of its gradients
// and, where that is asked for, the number of its occurrences.
//
// Sums are taken in the order of positions, so they do not depend on threads. A
// sum out of float's range becomes the largest finite float of its sign.
//
// Thread safety: immutable once made. Gradients of ids that are not repeated
// are not copied: the batch must outlive this.
//
// Example:
//   GradientSums sums(ids, gradients, dim, partition.Positions(0, 8));
//   for (const auto& [id, gradient] : sums.entries()) ...
class GradientSums {
 public:
  struct Entry {
    int64_t id;
    const float* gradient;  // (dim)
  };

  // What an entry of the batch counts for its id.
  struct Counting {
    bool is_wanted = false;
    // (n), or empty: each counts 1.
    absl::Span<const uint16_t> occurrences = {};
  };

  GradientSums(absl::Span<const int64_t> ids,      // (n)
               absl::Span<const float> gradients,  // (n, dim)
               size_t dim,
               absl::Span<const uint32_t> positions,  // which of the n
               const Counting& counting);
  GradientSums(absl::Span<const int64_t> ids, absl::Span<const float> gradients,
               size_t dim, absl::Span<const uint32_t> positions)
      : GradientSums(ids, gradients, dim, positions, Counting()) {}

  // In the order of each id's first position.
  absl::Span<const Entry> entries() const { return entries_; }

  // Of each entry, if that was wanted; the largest number stands for more.
  absl::Span<const uint32_t> occurrences() const { return occurrences_; }

 private:
  // Adds to the sum of a repeated id.
  void Add(const float* gradient, size_t max_sums, Entry* entry);

  const size_t dim_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> occurrences_;
  std::unique_ptr<float[]> sums_;  // (num_sums_, dim), of repeated ids
  size_t num_sums_ = 0;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_GRADIENT_SUMS_H_
