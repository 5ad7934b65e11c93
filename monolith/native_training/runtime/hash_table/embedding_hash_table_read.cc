// Reading rows: Lookup.

#include <algorithm>
#include <cstddef>
#include <mutex>

#include "monolith/native_training/runtime/hash_filter/occurrence_filter.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/row_arena.h"
#include "monolith/native_training/runtime/hash_table/row_schema.h"
#include "monolith/native_training/runtime/hash_table/stripe.h"
#include "monolith/native_training/runtime/hash_table/stripe_gate.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"
#include "monolith/native_training/runtime/hash_table/stripe_lookup.h"

namespace monolith {
namespace {

// What one thread takes at a time: enough to be worth it.
constexpr size_t kTaskIds = 4096;

}  // namespace

absl::Status EmbeddingHashTable::Lookup(absl::Span<const int64_t> ids,
                                        MissingId missing,
                                        absl::Span<float> values,
                                        Executor& executor) const {
  absl::Status status = CheckMatrix("values", ids.size(), values.size(), dim_);
  if (!status.ok()) return status;
  const size_t dim = static_cast<size_t>(dim_);
  const size_t n = ids.size();
  std::shared_lock<std::shared_mutex> clear_lock(clear_mutex_);
  const bool zeros =
      missing == MissingId::kZero || config_.occurrence_threshold > 0;
  const auto fill_missing = [&](int64_t id, float* value) {
    if (zeros) {
      std::fill_n(value, dim, 0.0f);
    } else {
      schema_->InitEmbedding(id, value);
    }
  };
  const auto lookup = [&](int64_t task) {
    const size_t end = std::min(n, (static_cast<size_t>(task) + 1) * kTaskIds);
    for (size_t begin = static_cast<size_t>(task) * kTaskIds; begin < end;
         begin += kMaxLookupIds) {
      LookupInStripes(ids.subspan(begin, std::min(kMaxLookupIds, end - begin)),
                      dim, *arena_, stripes_.get(), *gate_, fill_missing,
                      values.data() + begin * dim);
    }
  };
  const size_t num_tasks = (n + kTaskIds - 1) / kTaskIds;
  if (num_tasks == 1) {
    lookup(0);
  } else {
    executor.ParallelFor(static_cast<int64_t>(num_tasks), lookup);
  }
  return absl::OkStatus();
}

}  // namespace monolith
