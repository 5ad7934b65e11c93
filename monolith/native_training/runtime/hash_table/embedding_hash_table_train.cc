// Training: ApplyGradients and its validation.

#include <cmath>
#include <shared_mutex>
#include <vector>

#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/admission.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/finite_check.h"
#include "monolith/native_training/runtime/hash_table/gradient_sums.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_batch.h"
#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

namespace monolith {

absl::Status EmbeddingHashTable::ValidateGradients(
    absl::Span<const int64_t> ids, absl::Span<const float> gradients,
    const UpdateOptions& options, Executor& executor) const {
  absl::Status status =
      CheckMatrix("gradients", ids.size(), gradients.size(), dim_);
  if (!status.ok()) return status;
  if (!options.occurrences.empty()) {
    status =
        CheckMatrix("occurrences", ids.size(), options.occurrences.size(), 1);
    if (!status.ok()) return status;
  }
  const absl::Span<const float> rates = options.learning_rates;
  if (!rates.empty() && rates.size() != config_.segments.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "table '", config_.name, "': learning_rates must have one entry for ",
        "each of the ", config_.segments.size(), " segments, or none; got ",
        rates.size()));
  }
  for (size_t i = 0; i < rates.size(); ++i) {
    if (std::isfinite(rates[i]) && rates[i] >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "table '", config_.name, "': the learning rate of segment '",
        config_.segments[i].name, "' must be finite and 0 or more, got ",
        rates[i]));
  }
  const size_t bad = FindNonFinite(gradients, executor);
  if (bad == gradients.size()) return absl::OkStatus();
  const size_t row = bad / static_cast<size_t>(dim_);
  return absl::InvalidArgumentError(absl::StrCat(
      "table '", config_.name, "': the gradient of id ", ids[row], " (row ",
      row, ", column ", bad % static_cast<size_t>(dim_), ") is ",
      gradients[bad], "; no row was changed. Look for a division by zero or a ",
      "learning rate that is too high"));
}

absl::Status EmbeddingHashTable::ApplyGradients(
    absl::Span<const int64_t> ids, absl::Span<const float> gradients,
    const UpdateOptions& options, Executor& executor) {
  if (!options.validated) {
    absl::Status status = ValidateGradients(ids, gradients, options, executor);
    if (!status.ok()) return status;
  }
  const size_t dim = static_cast<size_t>(dim_);
  const std::vector<UpdateContext> contexts =
      schema_->MakeContexts(options.learning_rates, options.global_step);
  const auto update = [&](int64_t id, const float* gradient,
                          Stripe::Slot slot) {
    float* const row = arena_->Row(slot.row);
    if (slot.inserted) {
      schema_->InitEmbedding(id, row);
      schema_->InitState(row);
    }
    schema_->Update(id, gradient, contexts, row);
    *arena_->UpdateTime(slot.row) = options.update_time;
  };

  const GradientSums::Counting counting = {config_.occurrence_threshold > 0,
                                           options.occurrences};
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const StripePartition partition(ids, executor);
  return ForEachStripeGroup(ids.size(), executor, [&](int first, int last) {
    const absl::Span<const uint32_t> positions =
        partition.Positions(first, last);
    if (positions.empty()) return absl::OkStatus();
    // Calls update(id, gradient, slot) for those of n ids that have a row or
    // get one now.
    const auto write = [&](size_t n, auto id_at, auto gradient_at,
                           auto occurrences_at) {
      const auto write_row = [&](size_t i, Stripe::Slot slot) {
        update(id_at(i), gradient_at(i), slot);
      };
      const StripeHold hold(stripes_.get(), *gate_, first, last);
      if (filters_.empty()) {
        return WriteRows(n, *arena_, stripes_.get(), id_at, write_row);
      }
      return WriteAdmittedRows(
          n, *arena_, stripes_.get(), filters_,
          static_cast<uint32_t>(config_.occurrence_threshold), id_at,
          occurrences_at, write_row);
    };
    if (options.ids_are_unique) {
      return write(
          positions.size(), [&](size_t i) { return ids[positions[i]]; },
          [&](size_t i) { return gradients.data() + positions[i] * dim; },
          [&](size_t i) -> uint32_t {
            return options.occurrences.empty()
                       ? 1
                       : options.occurrences[positions[i]];
          });
    }
    const GradientSums sums(ids, gradients, dim, positions, counting);
    return write(
        sums.entries().size(), [&](size_t i) { return sums.entries()[i].id; },
        [&](size_t i) { return sums.entries()[i].gradient; },
        [&](size_t i) { return sums.occurrences()[i]; });
  });
}

}  // namespace monolith
