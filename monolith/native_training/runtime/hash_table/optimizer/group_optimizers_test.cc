// The optimizers that set whole rows to zero.

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/optimizer/group_lasso.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

namespace monolith {
namespace {

std::vector<double> RandomDoubles(int n, int seed, double scale) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<double> values(n);
  for (double& value : values) value = normal(random);
  return values;
}

double Norm(const std::vector<double>& x) {
  double squares = 0;
  for (double value : x) squares += value * value;
  return std::sqrt(squares);
}

double Solve(const std::vector<double>& u, const std::vector<double>& h,
             double penalty) {
  const double* const linear = u.data();
  const double* const quadratic = h.data();
  return GroupLassoNorm(
      static_cast<int>(u.size()),
      [=](int i) MONOLITH_INLINE { return linear[i]; },
      [=](int i) MONOLITH_INLINE { return quadratic[i]; }, penalty);
}

// The gradient of the objective at the minimum is 0.
TEST(GroupLassoTest, SolutionsAreStationary) {
  for (int seed = 0; seed < 200; ++seed) {
    const int dim = 1 + seed % 67;
    const double spread = seed % 4;
    const std::vector<double> u = RandomDoubles(dim, seed, 1);
    std::vector<double> h = RandomDoubles(dim, seed + 1000, spread);
    for (double& value : h) value = std::exp(value);
    for (double part : {1e-9, 0.1, 0.9, 0.999999}) {
      const double penalty = part * Norm(u);
      const double norm = Solve(u, h, penalty);
      ASSERT_GT(norm, 0);
      std::vector<double> x(dim), slope(dim);
      for (int i = 0; i < dim; ++i) x[i] = -u[i] / (h[i] + penalty / norm);
      EXPECT_NEAR(Norm(x), norm, 1e-9 * norm) << seed << " " << part;
      for (int i = 0; i < dim; ++i) {
        slope[i] = u[i] + h[i] * x[i] + penalty * x[i] / Norm(x);
      }
      EXPECT_LT(Norm(slope), 1e-8 * Norm(u)) << seed << " " << part;
    }
    EXPECT_EQ(Solve(u, h, Norm(u) * 1.000001), 0);
  }
}

TEST(GroupLassoTest, ZeroStaysZero) {
  EXPECT_EQ(Solve({0, 0}, {0, 1}, 1e-30), 0);
  EXPECT_NEAR(Solve({0, 2}, {0, 1}, 1), 1, 1e-12);
}

class GroupOptimizerTest : public testing::TestWithParam<OptimizerConfig> {};

// One row has a signal, the other noise; each has floats of both kinds.
TEST_P(GroupOptimizerTest, RowsBecomeZeroAsAWhole) {
  constexpr int kDim = 9;
  auto optimizer = *CreateOptimizer(GetParam());
  for (bool has_signal : {true, false}) {
    std::mt19937 random(8);
    std::normal_distribution<float> noise(0, 0.1f);
    std::vector<float> w(kDim, 0.5f), state(optimizer->StateDim(kDim));
    optimizer->InitState(absl::MakeSpan(state));
    for (int step = 0; step < 400; ++step) {
      std::vector<float> gradient(kDim);
      for (int i = 0; i < kDim; ++i) {
        gradient[i] = noise(random);
        if (has_signal && i < 2) gradient[i] += w[i] - 3;
      }
      optimizer->Update(gradient, {0.1f, step}, absl::MakeSpan(w),
                        absl::MakeSpan(state));
    }
    if (has_signal) {
      EXPECT_THAT(w, testing::Each(testing::Ne(0)));
      EXPECT_GT(w[0], 0.5f);
    } else {
      EXPECT_THAT(w, testing::Each(0));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, GroupOptimizerTest,
    testing::Values(OptimizerConfig{"ftrl_with_group_sparsity",
                                    {{"l1_regularization", 2}}},
                    OptimizerConfig{"adagrad_with_group_lasso",
                                    {{"l2_regularization", 0.2}}}),
    [](const auto& info) { return info.param.type; });

// `a` and `b` train alike on rows of `dim` floats.
void ExpectAlike(const OptimizerConfig& a, const OptimizerConfig& b, int dim) {
  auto one = *CreateOptimizer(a);
  auto other = *CreateOptimizer(b);
  std::vector<float> w(dim, 0.5f), state(one->StateDim(dim));
  one->InitState(absl::MakeSpan(state));
  std::vector<float> other_w = w, other_state = state;
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  for (int step = 0; step < 100; ++step) {
    std::vector<float> gradient(dim);
    for (float& g : gradient) g = normal(random);
    one->Update(gradient, {0.1f, step}, absl::MakeSpan(w),
                absl::MakeSpan(state));
    other->Update(gradient, {0.1f, step}, absl::MakeSpan(other_w),
                  absl::MakeSpan(other_state));
    EXPECT_THAT(w, testing::Pointwise(testing::FloatNear(1e-5f), other_w));
  }
}

TEST(GroupOptimizerTest, WithoutPenaltyTheyAreThePlainOnes) {
  ExpectAlike({"ftrl_with_group_sparsity", {{"beta", 1}}},
              {"ftrl", {{"beta", 1}}}, 9);
  ExpectAlike({"adagrad_with_group_lasso", {}}, {"adagrad", {}}, 9);
}

TEST(GroupOptimizerTest, OneFloatIsAGroupOfItsOwn) {
  const std::map<std::string, double> params = {{"l1_regularization", 3},
                                                {"l2_regularization", 0.5}};
  ExpectAlike({"ftrl_with_group_sparsity", params}, {"ftrl", params}, 1);
}

}  // namespace
}  // namespace monolith
