#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_SCHEMA_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_SCHEMA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_interface.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"

namespace monolith {

// What the floats of a row mean, and what can be done with them: the segments
// of a table with their initializers and optimizers.
//
//   row: | embedding of segment 0 | embedding of 1 | ... | state of 0 | ... |
//
// Thread safety: immutable and thread-safe; the caller guards the row.
//
// Example:
//   auto schema = RowSchema::Create(config);
//   if (!schema.ok()) return schema.status();
//   std::vector<float> row((*schema)->row_floats());
//   (*schema)->InitEmbedding(id, row.data());
//   (*schema)->InitState(row.data());
class RowSchema {
 public:
  // InvalidArgument, naming table and segment, if an initializer, optimizer or
  // compressor cannot be made.
  static absl::StatusOr<std::unique_ptr<RowSchema>> Create(
      const TableConfig& config);

  int dim() const { return dim_; }
  int state_dim() const { return static_cast<int>(initial_state_.size()); }
  size_t row_floats() const { return dim_ + initial_state_.size(); }

  // Writes the initial embedding of an id to the first dim() floats.
  void InitEmbedding(int64_t id, float* embedding) const;

  // Writes the optimizers' initial state behind the embedding.
  void InitState(float* row) const;

  // Of one segment.
  absl::Span<const float> initial_state(int segment) const {
    const Segment& its = segments_[segment];
    return absl::MakeConstSpan(initial_state_)
        .subspan(its.state_begin - dim_, its.state_dim);
  }

  // What each float of the state can be: state_dim() ranges.
  absl::Span<const StateRange> state_ranges() const { return state_ranges_; }

  // The segment that a float of the state belongs to.
  int SegmentOfState(size_t column) const;

  // The context of each segment, of no row yet. No `learning_rates` means the
  // optimizers' own.
  std::vector<UpdateContext> MakeContexts(
      absl::Span<const float> learning_rates, int64_t global_step) const;

  // One step of each segment's optimizer, on the row of an id.
  void Update(int64_t id,
              const float* gradient,  // (dim())
              absl::Span<const UpdateContext> contexts, float* row) const;

 private:
  struct Segment {
    size_t begin;  // of the embedding and gradient, in floats from the row's
    size_t dim;
    size_t state_begin;
    size_t state_dim;
    uint64_t seed;
    std::unique_ptr<Initializer> initializer;
    std::unique_ptr<Optimizer> optimizer;
  };

  RowSchema() = default;

  int dim_ = 0;
  std::vector<Segment> segments_;
  std::vector<float> initial_state_;      // of all segments
  std::vector<StateRange> state_ranges_;  // the same
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_ROW_SCHEMA_H_
