#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

namespace monolith {
namespace {

using testing::HasSubstr;

OptimizerConfig Wrapped(const OptimizerConfig& inner) {
  return {"stochastic_rounding_float16", {}, {{"optimizer", inner}}};
}

// The spacing of 16 bit floats at x.
double Spacing(double x) {
  const int exponent = std::ilogb(std::max(std::abs(x), std::ldexp(1, -14)));
  return std::ldexp(1, exponent - 10);
}

// Rounds each of `values` once: an SGD step without gradient.
std::vector<float> Rounded(std::vector<float> values) {
  auto optimizer = *CreateOptimizer(Wrapped({"sgd", {}}));
  std::vector<float> state(1);
  const std::vector<float> zeros(values.size());
  optimizer->Update(zeros, {1, 0}, absl::MakeSpan(values),
                    absl::MakeSpan(state));
  return values;
}

TEST(StochasticRoundingTest, RoundsToANeighbour) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> exponent(-30, 15.9f);
  std::vector<float> values = {0, -0.0f, 1, -2, 65504, 1e-45f, 6.1e-5f};
  for (int i = 0; i < 20000; ++i) {
    values.push_back(std::exp2(exponent(random)) * (i % 2 ? 1 : -1));
  }
  const std::vector<float> rounded = Rounded(values);
  for (size_t i = 0; i < values.size(); ++i) {
    const double spacing = Spacing(values[i]);
    const double x = rounded[i] / spacing;
    EXPECT_EQ(x, std::round(x)) << values[i];
    EXPECT_LT(std::abs(double{rounded[i]} - values[i]), spacing) << values[i];
    EXPECT_EQ(std::signbit(rounded[i]), std::signbit(values[i]));
  }
}

TEST(StochasticRoundingTest, StopsAtTheLargestNumber) {
  EXPECT_THAT(Rounded({65505, -1e5f, 3e38f, -3e38f}),
              testing::ElementsAre(65504, -65504, 65504, -65504));
}

TEST(StochasticRoundingTest, IsRightOnAverage) {
  constexpr int kCopies = 20000;
  for (float value : {1.0003f, -0.3f, 123.456f, 3.3e-5f, -7e-7f, 2e-8f}) {
    const std::vector<float> rounded =
        Rounded(std::vector<float>(kCopies, value));
    double sum = 0;
    for (float x : rounded) sum += x;
    // Five standard deviations of the mean.
    EXPECT_NEAR(sum / kCopies, value,
                5 * 0.5 * Spacing(value) / std::sqrt(kCopies));
  }
}

// Steps of a tenth of the spacing would all be lost to rounding to nearest.
TEST(StochasticRoundingTest, SmallStepsAddUp) {
  constexpr int kDim = 64, kSteps = 1000;
  auto optimizer = *CreateOptimizer(Wrapped({"sgd", {}}));
  std::vector<float> w(kDim, 1), state(1);
  const float step_size = static_cast<float>(Spacing(1)) / 10;
  const std::vector<float> gradient(kDim, -step_size);
  for (int step = 0; step < kSteps; ++step) {
    optimizer->Update(gradient, {1, step}, absl::MakeSpan(w),
                      absl::MakeSpan(state));
  }
  double mean = 0;
  for (float x : w) mean += x / kDim;
  EXPECT_NEAR(mean, 1 + kSteps * double{step_size}, 0.1 * kSteps * step_size);
  EXPECT_NE(*std::min_element(w.begin(), w.end()),
            *std::max_element(w.begin(), w.end()));
}

// Whether each of kColumns floats halfway between two 16 bit floats is rounded
// up in each of kSteps updates of a row.
std::vector<bool> Ups(uint64_t seed, int64_t id) {
  constexpr int kColumns = 32, kSteps = 64;
  auto optimizer = *CreateOptimizer(Wrapped({"sgd", {}}));
  const float halfway = static_cast<float>(1 + Spacing(1) / 2);
  const std::vector<float> zeros(kColumns);
  std::vector<float> state(1);
  std::vector<bool> ups;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> w(kColumns, halfway);
    optimizer->Update(zeros, {1, step, seed, id}, absl::MakeSpan(w),
                      absl::MakeSpan(state));
    for (float x : w) ups.push_back(x > 1);
  }
  return ups;
}

// Five standard deviations of how often n fair coins agree with n others.
void ExpectIndependent(const std::vector<bool>& a, const std::vector<bool>& b,
                       size_t shift = 0) {
  const size_t n = a.size() - shift;
  size_t equal = 0;
  for (size_t i = 0; i < n; ++i) equal += a[i] == b[i + shift];
  EXPECT_NEAR(static_cast<double>(equal), n / 2.0, 2.5 * std::sqrt(n));
}

// Rows that are alike, as many new ones are, are rounded in different ways.
TEST(StochasticRoundingTest, RowsColumnsStepsAndSegmentsAreIndependent) {
  const std::vector<bool> row = Ups(3, 7);
  EXPECT_EQ(Ups(3, 7), row);
  for (int64_t id : {8, 6, -7, 7 + 32, 7 << 20}) {
    ExpectIndependent(Ups(3, id), row);
  }
  for (uint64_t seed : {0, 2, 4, 3 + 32}) {
    ExpectIndependent(Ups(seed, 7), row);
  }
  for (size_t shift : {1, 2, 32, 33, 64}) ExpectIndependent(row, row, shift);
}

TEST(StochasticRoundingTest, TheOthersStateIsNotRounded) {
  auto plain = *CreateOptimizer({"adagrad", {}});
  auto wrapper = *CreateOptimizer(Wrapped({"adagrad", {}}));
  EXPECT_EQ(wrapper->default_learning_rate(), plain->default_learning_rate());
  std::vector<float> w = {1}, state(1), other_w = {1}, other_state(2);
  plain->InitState(absl::MakeSpan(state));
  wrapper->InitState(absl::MakeSpan(other_state));
  plain->Update({0.1234567f}, {1, 0}, absl::MakeSpan(w), absl::MakeSpan(state));
  wrapper->Update({0.1234567f}, {1, 0}, absl::MakeSpan(other_w),
                  absl::MakeSpan(other_state));
  EXPECT_EQ(other_state[0], state[0]);
  EXPECT_EQ(other_state[1], 1);
}

TEST(StochasticRoundingTest, SaysWhatIsWrongWithTheOther) {
  const std::vector<std::pair<OptimizerConfig, std::string>> cases = {
      {Wrapped({"adamant", {}}), "there is no optimizer 'adamant'"},
      {Wrapped({"sgd", {{"rate", 1}}}), "'sgd' has no parameter 'rate'"},
      {Wrapped(Wrapped({"sgd", {}})), "must wrap another type of optimizer"},
      {{"stochastic_rounding_float16", {{"optimizer", 1}}},
       "has no parameter 'optimizer'"},
  };
  for (const auto& [config, error] : cases) {
    EXPECT_THAT(std::string(CreateOptimizer(config).status().message()),
                HasSubstr(error));
  }
  EXPECT_TRUE(CreateOptimizer({"stochastic_rounding_float16", {}}).ok());
}

}  // namespace
}  // namespace monolith
