// The suite that every optimizer passes, and each against its formula.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

namespace monolith {
namespace {

using testing::HasSubstr;

class OptimizerTest : public testing::TestWithParam<std::string> {};

TEST_P(OptimizerTest, GoesDownhill) {
  auto optimizer = *CreateOptimizer({GetParam(), {}});
  for (int dim : {1, 7, 64}) {
    std::vector<float> embedding(dim, 1);
    std::vector<float> state(optimizer->StateDim(dim));
    optimizer->InitState(absl::MakeSpan(state));
    for (int64_t step = 0; step < 100; ++step) {
      const std::vector<float> gradient = embedding;  // of |w|^2 / 2
      optimizer->Update(gradient, {optimizer->default_learning_rate(), step},
                        absl::MakeSpan(embedding), absl::MakeSpan(state));
    }
    for (float w : embedding) EXPECT_LT(std::abs(w), 0.9);
  }
}

TEST_P(OptimizerTest, AZeroGradientOfANewRowChangesNothing) {
  auto optimizer = *CreateOptimizer({GetParam(), {}});
  std::vector<float> embedding = {1, -2, 0};
  std::vector<float> state(optimizer->StateDim(3));
  optimizer->InitState(absl::MakeSpan(state));
  optimizer->Update({0, 0, 0}, {1, 0}, absl::MakeSpan(embedding),
                    absl::MakeSpan(state));
  EXPECT_THAT(embedding, testing::ElementsAre(1, -2, 0));
}

TEST_P(OptimizerTest, RefusesBadParameters) {
  EXPECT_THAT(
      std::string(
          CreateOptimizer({GetParam(), {{"momentun", 1}}}).status().message()),
      HasSubstr("has no parameter 'momentun'; it has learning_rate"));
  for (double rate : {-1.0, std::numeric_limits<double>::quiet_NaN(),
                      std::numeric_limits<double>::infinity(), 1e39}) {
    EXPECT_THAT(
        std::string(CreateOptimizer({GetParam(), {{"learning_rate", rate}}})
                        .status()
                        .message()),
        HasSubstr("'learning_rate' must be a finite float of at least 0"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest,
                         testing::ValuesIn(OptimizerTypes()));

TEST(OptimizerFactoryTest, NamesTheKnownTypes) {
  EXPECT_THAT(
      std::string(CreateOptimizer({"adamant", {}}).status().message()),
      HasSubstr("there is no optimizer 'adamant'; there are adagrad, sgd"));
}

// Runs 200 steps of random gradients; `oracle` makes one step of one float in
// double precision, with one float of state.
template <typename Oracle>
void ExpectAgreement(const OptimizerConfig& config, double initial_state,
                     Oracle oracle) {
  auto optimizer = *CreateOptimizer(config);
  constexpr int kDim = 37;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> embedding(kDim), state(optimizer->StateDim(kDim));
  for (float& w : embedding) w = normal(random);
  std::vector<double> exact(embedding.begin(), embedding.end());
  std::vector<double> exact_state(kDim, initial_state);
  optimizer->InitState(absl::MakeSpan(state));
  for (int64_t step = 0; step < 200; ++step) {
    std::vector<float> gradient(kDim);
    for (float& g : gradient) g = normal(random);
    const float rate = 0.01f + 0.001f * static_cast<float>(step % 7);
    optimizer->Update(gradient, {rate, step}, absl::MakeSpan(embedding),
                      absl::MakeSpan(state));
    for (int i = 0; i < kDim; ++i) {
      oracle(gradient[i], rate, step, &exact[i], &exact_state[i]);
      ASSERT_NEAR(embedding[i], exact[i], 1e-6 * (1 + std::abs(exact[i])))
          << "step " << step;
    }
  }
}

TEST(SgdOptimizerTest, FollowsTheFormula) {
  ExpectAgreement({"sgd", {}}, 0,
                  [](double g, double rate, int64_t, double* w, double*) {
                    *w -= rate * g;
                  });
}

TEST(AdagradOptimizerTest, FollowsTheFormula) {
  ExpectAgreement({"adagrad", {}}, 0.1f,
                  [](double g, double rate, int64_t, double* w, double* acc) {
                    *acc += g * g;
                    *w -= rate * g / std::sqrt(*acc);
                  });
}

TEST(AdagradOptimizerTest, DecaysWeightsAndWarmsUp) {
  ExpectAgreement(
      {"adagrad",
       {{"initial_accumulator_value", 2},
        {"weight_decay_factor", 0.25},
        {"warmup_steps", 50}}},
      2, [](double g, double rate, int64_t step, double* w, double* acc) {
        g += 0.25 * *w;
        *acc += g * g;
        const double warm = std::min(1.0, static_cast<double>(step + 1) / 50);
        *w -= rate * warm * g / std::sqrt(*acc);
      });
}

TEST(AdagradOptimizerTest, SurvivesHugeGradients) {
  auto optimizer = *CreateOptimizer({"adagrad", {}});
  const float largest = std::numeric_limits<float>::max();
  std::vector<float> embedding(5, 1), state(5, 0.1f);
  for (int step = 0; step < 3; ++step) {
    optimizer->Update({largest, -largest, 1e30f, 0, 1}, {0.05f, 0},
                      absl::MakeSpan(embedding), absl::MakeSpan(state));
  }
  for (float w : embedding) EXPECT_TRUE(std::isfinite(w));
  for (float acc : state) EXPECT_TRUE(std::isfinite(acc));
}

TEST(AdagradOptimizerTest, RefusesAnAccumulatorOfZero) {
  for (double value : {0.0, -1.0, 1e-50}) {
    EXPECT_THAT(
        std::string(
            CreateOptimizer({"adagrad", {{"initial_accumulator_value", value}}})
                .status()
                .message()),
        HasSubstr("'initial_accumulator_value' must be a finite float"));
  }
}

}  // namespace
}  // namespace monolith
