#include "monolith/native_training/runtime/batch/global_norm.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

using Arrays = std::vector<std::vector<float>>;

double Norm(const Arrays& arrays, Executor& executor = InlineExecutor::Get()) {
  std::vector<absl::Span<const float>> spans(arrays.begin(), arrays.end());
  return GlobalNorm(spans, executor);
}

TEST(GlobalNormTest, IsTheRootOfAllSquares) {
  EXPECT_EQ(Norm({}), 0);
  EXPECT_EQ(Norm({{}, {}}), 0);
  EXPECT_EQ(Norm({{3}, {}, {4}}), 5);
  EXPECT_EQ(Norm({{1, -1, 1, -1, 1, -1, 1, -1, 1}}), 3);
}

TEST(GlobalNormTest, SquaresOfTheLargestAndSmallestFloatsFit) {
  const float largest = std::numeric_limits<float>::max();
  const float smallest = std::numeric_limits<float>::denorm_min();
  EXPECT_DOUBLE_EQ(Norm({{largest, largest}, {largest, -largest}}),
                   2.0 * largest);
  EXPECT_DOUBLE_EQ(Norm({{smallest, smallest, smallest, smallest}}),
                   2.0 * smallest);
}

TEST(GlobalNormTest, IsFiniteOnlyWhereAllNumbersAre) {
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t position : {0, 7, 8, 16}) {
      Arrays arrays = {{1}, std::vector<float>(17, 1)};
      arrays[1][position] = bad;
      EXPECT_FALSE(std::isfinite(Norm(arrays))) << bad << " at " << position;
    }
  }
}

TEST(GlobalNormTest, ThreadsDoNotChangeIt) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  Arrays arrays = {std::vector<float>(300'001), std::vector<float>(13)};
  double wanted = 0;
  for (std::vector<float>& array : arrays) {
    for (float& value : array) {
      value = normal(random);
      wanted += static_cast<double>(value) * value;
    }
  }
  ThreadPoolExecutor executor(4);
  EXPECT_NEAR(Norm(arrays), std::sqrt(wanted), 1e-9);
  EXPECT_EQ(Norm(arrays), Norm(arrays, executor));
}

TEST(ScaleTest, ScalesInPlaceAndElsewhere) {
  ThreadPoolExecutor executor(4);
  std::vector<float> values(200'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::vector<float> scaled(values.size());
  Scale(values, 0.25, executor, absl::MakeSpan(scaled));
  Scale(values, 0.25, executor, absl::MakeSpan(values));
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(scaled[i], static_cast<float>(i) * 0.25f) << i;
  }
  EXPECT_EQ(values, scaled);
}

TEST(ScaleTest, AFactorBelowFloatsRangeStillWorks) {
  std::vector<float> values = {3e38f};
  Scale(values, 1e-50, InlineExecutor::Get(), absl::MakeSpan(values));
  EXPECT_FLOAT_EQ(values[0], 3e-12f);
}

}  // namespace
}  // namespace monolith
