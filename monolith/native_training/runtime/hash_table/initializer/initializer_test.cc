// The suite that every initializer passes, and what is particular to each.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/initializer/initializer_factory.h"

namespace monolith {
namespace {

using testing::Each;
using testing::HasSubstr;

std::vector<float> Fill(const Initializer& initializer, uint64_t seed,
                        int64_t id, size_t n) {
  std::vector<float> values(n, -77);
  initializer.Fill(seed, id, absl::MakeSpan(values));
  return values;
}

class InitializerTest : public testing::TestWithParam<std::string> {};

TEST_P(InitializerTest, IsAPureFunctionOfSeedIdAndPosition) {
  auto initializer = *CreateInitializer({GetParam(), {}});
  auto twin = *CreateInitializer({GetParam(), {}});
  for (int64_t id : {int64_t{0}, int64_t{-1}, int64_t{12345},
                     std::numeric_limits<int64_t>::min()}) {
    const std::vector<float> values = Fill(*initializer, 7, id, 33);
    EXPECT_EQ(Fill(*twin, 7, id, 33), values);
    for (size_t n : {0, 1, 2, 16, 17}) {
      const std::vector<float> prefix(values.begin(), values.begin() + n);
      EXPECT_EQ(Fill(*initializer, 7, id, n), prefix);
    }
    for (float value : values) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(InitializerTest, RefusesUnknownParameters) {
  EXPECT_THAT(
      std::string(
          CreateInitializer({GetParam(), {{"spread", 1}}}).status().message()),
      HasSubstr("has no parameter 'spread'"));
}

INSTANTIATE_TEST_SUITE_P(All, InitializerTest,
                         testing::ValuesIn(InitializerTypes()));

TEST(InitializerFactoryTest, NamesTheKnownTypes) {
  EXPECT_THAT(std::string(CreateInitializer({"ones", {}}).status().message()),
              HasSubstr("there is no initializer 'ones'; there are constants, "
                        "random_normal, random_uniform, zeros"));
}

TEST(InitializerFactoryTest, RefusesValuesOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const InitializerConfig& config : {
           InitializerConfig{"constants", {{"constant", nan}}},
           InitializerConfig{"constants", {{"constant", 1e39}}},
           InitializerConfig{"random_normal", {{"stddev", -1}}},
           InitializerConfig{"random_uniform", {{"minval", 1}, {"maxval", 0}}},
       }) {
    EXPECT_EQ(CreateInitializer(config).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(ConstantsInitializerTest, IsConstant) {
  EXPECT_THAT(Fill(**CreateInitializer({"zeros", {}}), 1, 2, 9), Each(0));
  EXPECT_THAT(
      Fill(**CreateInitializer({"constants", {{"constant", 1.5}}}), 1, 2, 9),
      Each(1.5f));
}

// Mean, standard deviation and correlations of many values, which are in units
// of standard deviations.
struct Moments {
  double mean = 0, deviation = 0, neighbours = 0, ids = 0, seeds = 0;
};

Moments Measure(const Initializer& initializer, double mean, double deviation) {
  constexpr size_t kDim = 16;
  constexpr int64_t kIds = 20000;
  Moments moments;
  for (int64_t id = 0; id < kIds; ++id) {
    const auto values = Fill(initializer, 1, id, kDim);
    const auto next_id = Fill(initializer, 1, id + 1, kDim);
    const auto next_seed = Fill(initializer, 2, id, kDim);
    for (size_t i = 0; i < kDim; ++i) {
      const auto normalized = [&](const std::vector<float>& v, size_t at) {
        return (v[at % kDim] - mean) / deviation;
      };
      const double z = normalized(values, i);
      moments.mean += z;
      moments.deviation += z * z;
      moments.neighbours += z * normalized(values, i + 1);
      moments.ids += z * normalized(next_id, i);
      moments.seeds += z * normalized(next_seed, i);
    }
  }
  const double n = kIds * kDim;
  return {moments.mean / n, std::sqrt(moments.deviation / n),
          moments.neighbours / n, moments.ids / n, moments.seeds / n};
}

void ExpectStandard(const Moments& moments) {
  const double bound = 5 / std::sqrt(20000. * 16);
  EXPECT_NEAR(moments.mean, 0, bound);
  EXPECT_NEAR(moments.deviation, 1, bound);
  EXPECT_NEAR(moments.neighbours, 0, bound);
  EXPECT_NEAR(moments.ids, 0, bound);
  EXPECT_NEAR(moments.seeds, 0, bound);
}

TEST(RandomUniformInitializerTest, IsUniform) {
  auto initializer =
      *CreateInitializer({"random_uniform", {{"minval", 1}, {"maxval", 3}}});
  ExpectStandard(Measure(*initializer, 2, 2 / std::sqrt(12.)));
  std::vector<int> counts(10, 0);
  for (int64_t id = 0; id < 10000; ++id) {
    for (float value : Fill(*initializer, 5, id, 10)) {
      ASSERT_GE(value, 1);
      ASSERT_LE(value, 3);
      ++counts[std::min(9, static_cast<int>((value - 1) * 5))];
    }
  }
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(RandomUniformInitializerTest, DefaultsToFiveHundredths) {
  auto initializer = *CreateInitializer({"random_uniform", {}});
  const auto values = Fill(*initializer, 5, 1, 10000);
  EXPECT_NEAR(*std::min_element(values.begin(), values.end()), -0.05, 1e-3);
  EXPECT_NEAR(*std::max_element(values.begin(), values.end()), 0.05, 1e-3);
}

TEST(RandomNormalInitializerTest, IsNormal) {
  auto initializer =
      *CreateInitializer({"random_normal", {{"mean", -1}, {"stddev", 2}}});
  ExpectStandard(Measure(*initializer, -1, 2));
  int within_one = 0, within_two = 0, n = 0;
  for (int64_t id = 0; id < 20000; ++id) {
    for (float value : Fill(*initializer, 5, id, 10)) {
      const double z = std::abs((value + 1) / 2);
      within_one += z < 1;
      within_two += z < 2;
      ++n;
    }
  }
  EXPECT_NEAR(static_cast<double>(within_one) / n, 0.6827, 0.005);
  EXPECT_NEAR(static_cast<double>(within_two) / n, 0.9545, 0.005);
}

}  // namespace
}  // namespace monolith
