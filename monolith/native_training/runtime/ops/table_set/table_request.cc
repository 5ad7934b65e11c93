#include "monolith/native_training/runtime/ops/table_set/table_request.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/ops/input_checks.h"
#include "monolith/native_training/runtime/ops/table_set/table_set.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith {
namespace {

// Below this a request is done sooner than other threads would wake up.
constexpr int64_t kParallelIds = 2048;

}  // namespace

absl::StatusOr<TableRequest> ParseTableRequest(
    const TableSet& tables, const tensorflow::Tensor& request) {
  tables.NoteRequest();
  absl::StatusOr<absl::Span<const int64_t>> numbers =
      Int64Vector("request", request);
  if (!numbers.ok()) return numbers.status();
  absl::StatusOr<RequestView> view =
      ParseRequest(*numbers, tables.num_tables());
  if (!view.ok()) return view.status();
  absl::StatusOr<int64_t> value_size = ValueBufferSize(*view, tables.dims());
  if (!value_size.ok()) return value_size.status();

  TableRequest result;
  result.value_size = *value_size;
  int64_t id_begin = 0;
  int64_t value_begin = 0;
  for (int t = 0; t < tables.num_tables(); ++t) {
    const int64_t count = view->counts[t];
    const int64_t floats = count * tables.dims()[t];
    result.parts.push_back({&tables.table(t),
                            view->ids.subspan(id_begin, count),
                            view->occurrences[t], value_begin, floats});
    id_begin += count;
    value_begin += floats;
  }
  return result;
}

absl::Status ForEachPart(
    const TableRequest& request, Executor& executor,
    absl::FunctionRef<absl::Status(size_t, const TableRequest::Part&)> body) {
  const size_t n = request.parts.size();
  absl::InlinedVector<absl::Status, 8> done(n);
  const auto run = [&](int64_t t) { done[t] = body(t, request.parts[t]); };
  int64_t num_ids = 0;
  for (const TableRequest::Part& part : request.parts) {
    num_ids += static_cast<int64_t>(part.ids.size());
  }
  if (num_ids < kParallelIds) {
    for (size_t t = 0; t < n; ++t) run(static_cast<int64_t>(t));
  } else {
    executor.ParallelFor(static_cast<int64_t>(n), run);
  }
  absl::Status first;
  for (absl::Status& status : done) first.Update(std::move(status));
  return first;
}

}  // namespace monolith
