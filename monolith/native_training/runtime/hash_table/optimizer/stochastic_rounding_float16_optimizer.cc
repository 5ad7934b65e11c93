#include "monolith/native_training/runtime/hash_table/optimizer/stochastic_rounding_float16_optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/initializer/counter_random.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"
#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {
namespace {

constexpr float kMaxUpdates = 16777216;  // 2^24: floats count no further.

// Not the words that initial values come from.
constexpr uint64_t kStream = 0x5851f42d4c957f2du;

// A bijection that changes half of the bits with each bit of its argument: the
// last step of MurmurHash3.
MONOLITH_INLINE inline uint32_t Mix(uint32_t bits) {
  bits = (bits ^ (bits >> 16)) * 0x85ebca6bu;
  bits = (bits ^ (bits >> 13)) * 0xc2b2ae35u;
  return bits ^ (bits >> 16);
}

// Rounds to a multiple of the spacing of 16 bit floats at `value`.
MONOLITH_INLINE inline float RoundAtRandom(float value, uint32_t random) {
  constexpr float kLargest = 65504;
  constexpr float kSmallestNormal = 1.0f / 16384;
  constexpr float kSpacingBelow = 1.0f / 16777216;  // of subnormal numbers
  constexpr uint32_t kDropped = 0x1fff;  // bits of a float that 16 bits lack
  const float size = std::min(kLargest, std::abs(value));

  // Carries go into the kept bits as often as the dropped ones are large.
  uint32_t bits;
  std::memcpy(&bits, &size, sizeof(bits));
  bits = (bits + (random & kDropped)) & ~kDropped;
  float normal;
  std::memcpy(&normal, &bits, sizeof(normal));

  const float spacings = std::min(size, kSmallestNormal) / kSpacingBelow;
  const float below = static_cast<float>(static_cast<int32_t>(spacings));
  const float chance =
      static_cast<float>(static_cast<int32_t>(random >> 8)) * (1 / kMaxUpdates);
  const float subnormal =
      (chance < spacings - below ? below + 1 : below) * kSpacingBelow;

  return std::copysign(size < kSmallestNormal ? subnormal : normal, value);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>>
StochasticRoundingFloat16Optimizer::Create(const OptimizerConfig& config) {
  OptimizerConfig inner = {"adagrad", {}};
  OptimizerConfig rest = {config.type, config.params};
  for (const auto& [name, component] : config.components) {
    if (name == "optimizer") {
      inner = component;
    } else {
      rest.components.emplace_back(name, component);
    }
  }
  if (inner.type == config.type) {
    return absl::InvalidArgumentError(absl::StrCat(
        "optimizer '", config.type, "' must wrap another type of optimizer"));
  }
  absl::Status status = ReadParams("optimizer", rest, {}).status();
  if (!status.ok()) return status;
  auto optimizer = CreateOptimizer(inner);
  if (!optimizer.ok()) return optimizer.status();
  return std::make_unique<StochasticRoundingFloat16Optimizer>(
      *std::move(optimizer));
}

StochasticRoundingFloat16Optimizer::StochasticRoundingFloat16Optimizer(
    std::unique_ptr<const Optimizer> optimizer)
    : optimizer_(std::move(optimizer)) {}

int StochasticRoundingFloat16Optimizer::StateDim(int dim) const {
  return optimizer_->StateDim(dim) + 1;
}

void StochasticRoundingFloat16Optimizer::InitState(
    absl::Span<float> state) const {
  optimizer_->InitState(state.first(state.size() - 1));
  state.back() = 0;
}

void StochasticRoundingFloat16Optimizer::LimitState(
    absl::Span<StateRange> ranges) const {
  optimizer_->LimitState(ranges.first(ranges.size() - 1));
  ranges.back() = {0, kMaxUpdates - 1};
}

void StochasticRoundingFloat16Optimizer::Update(
    absl::Span<const float> gradient, const UpdateContext& context,
    absl::Span<float> embedding, absl::Span<float> state) const {
  optimizer_->Update(gradient, context, embedding,
                     state.first(state.size() - 1));
  float& updates = state.back();
  updates = updates + 1 < kMaxUpdates ? updates + 1 : 0;
  const uint32_t seed =
      static_cast<uint32_t>(CounterRandom(context.seed ^ kStream, context.id)
                                .Word(static_cast<uint64_t>(updates)));
  float* const w = embedding.data();
  VectorizedLoop(
      static_cast<int>(embedding.size()), [=](int i) MONOLITH_INLINE {
        w[i] = RoundAtRandom(w[i], Mix(seed + static_cast<uint32_t>(i)));
      });
}

}  // namespace monolith
