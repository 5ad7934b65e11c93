#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_OPTIMIZER_INTERFACE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_OPTIMIZER_INTERFACE_H_

#include <cstdint>
#include <limits>

#include "absl/types/span.h"

namespace monolith {

// What an update depends on besides gradient, embedding and state.
struct UpdateContext {
  float learning_rate = 0;  // before any warm-up
  int64_t global_step = 0;  // from 0
  // Where optimizers draw random numbers from: those of two segments, or of two
  // ids, are independent.
  uint64_t seed = 0;  // of the segment
  int64_t id = 0;     // of the row
};

// What a float of an optimizer's state can be, both ends included.
struct StateRange {
  float least = -std::numeric_limits<float>::max();
  float most = std::numeric_limits<float>::max();
};

inline constexpr StateRange kNotNegative = {0,
                                            std::numeric_limits<float>::max()};

// One step of gradient descent on one segment of one row.
//
// The state (accumulators, moments) lives in the row; an optimizer itself holds
// only its parameters. State and embedding of a row stay finite as long as
// gradients are finite and of a sane size.
//
// Thread safety: implementations are immutable and thread-safe; the caller
// guards the row.
//
// Example:
//   std::vector<float> state(optimizer.StateDim(dim));
//   optimizer.InitState(absl::MakeSpan(state));
//   optimizer.Update(gradient, {0.05f, step}, embedding, state);
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Floats of state for an embedding of `dim` floats; may be 0.
  virtual int StateDim(int dim) const = 0;

  // The learning rate of the config, for updates that name none.
  virtual float default_learning_rate() const = 0;

  // Overwrites `state`, of StateDim(dim) floats, with that of a new row.
  virtual void InitState(absl::Span<float> state) const = 0;

  // Narrows ranges[i], of all finite floats, to what the float i of a state can
  // be. There are StateDim(dim) ranges.
  virtual void LimitState(absl::Span<StateRange> ranges) const = 0;

  // Moves `embedding` and `state` on by one step. No two spans overlap.
  virtual void Update(absl::Span<const float> gradient,  // (dim), finite
                      const UpdateContext& context,
                      absl::Span<float> embedding,         // (dim)
                      absl::Span<float> state) const = 0;  // (StateDim(dim))
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_OPTIMIZER_INTERFACE_H_
