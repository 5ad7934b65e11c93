#include "monolith/native_training/runtime/hash_table/row_schema.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/compressor/compressor_factory.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_factory.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

namespace monolith {

absl::StatusOr<std::unique_ptr<RowSchema>> RowSchema::Create(
    const TableConfig& config) {
  auto schema = std::unique_ptr<RowSchema>(new RowSchema);
  for (const SegmentConfig& segment : config.segments) {
    auto initializer = CreateInitializer(segment.initializer);
    auto optimizer = CreateOptimizer(segment.optimizer);
    absl::Status status = initializer.status();
    status.Update(optimizer.status());
    // Export makes its own: here only a wrong one is refused.
    status.Update(CreateCompressor(segment.compressor).status());
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("table '", config.name, "', segment '",
                                       segment.name, "': ", status.message()));
    }
    const int state_dim = (*optimizer)->StateDim(segment.dim);
    schema->segments_.push_back(
        {static_cast<size_t>(schema->dim_), static_cast<size_t>(segment.dim),
         schema->initial_state_.size(), static_cast<size_t>(state_dim),
         segment.seed, *std::move(initializer), *std::move(optimizer)});
    schema->dim_ += segment.dim;
    schema->initial_state_.resize(schema->initial_state_.size() + state_dim);
  }
  schema->state_ranges_.resize(schema->initial_state_.size());
  for (Segment& segment : schema->segments_) {
    segment.optimizer->InitState(
        absl::MakeSpan(schema->initial_state_)
            .subspan(segment.state_begin, segment.state_dim));
    segment.optimizer->LimitState(
        absl::MakeSpan(schema->state_ranges_)
            .subspan(segment.state_begin, segment.state_dim));
    segment.state_begin += schema->dim_;
  }
  return schema;
}

void RowSchema::InitEmbedding(int64_t id, float* embedding) const {
  for (const Segment& segment : segments_) {
    segment.initializer->Fill(
        segment.seed, id,
        absl::MakeSpan(embedding + segment.begin, segment.dim));
  }
}

void RowSchema::InitState(float* row) const {
  std::copy(initial_state_.begin(), initial_state_.end(), row + dim_);
}

int RowSchema::SegmentOfState(size_t column) const {
  size_t s = segments_.size() - 1;
  while (segments_[s].state_begin > dim_ + column) --s;
  return static_cast<int>(s);
}

std::vector<UpdateContext> RowSchema::MakeContexts(
    absl::Span<const float> learning_rates, int64_t global_step) const {
  std::vector<UpdateContext> contexts;
  contexts.reserve(segments_.size());
  for (size_t i = 0; i < segments_.size(); ++i) {
    contexts.push_back({learning_rates.empty()
                            ? segments_[i].optimizer->default_learning_rate()
                            : learning_rates[i],
                        global_step, segments_[i].seed});
  }
  return contexts;
}

void RowSchema::Update(int64_t id, const float* gradient,
                       absl::Span<const UpdateContext> contexts,
                       float* row) const {
  for (size_t i = 0; i < segments_.size(); ++i) {
    const Segment& segment = segments_[i];
    UpdateContext context = contexts[i];
    context.id = id;
    segment.optimizer->Update(
        absl::MakeConstSpan(gradient + segment.begin, segment.dim), context,
        absl::MakeSpan(row + segment.begin, segment.dim),
        absl::MakeSpan(row + segment.state_begin, segment.state_dim));
  }
}

}  // namespace monolith
