#include "monolith/native_training/runtime/simd/vectorized_loop.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

constexpr int kMaxLength = 67;

std::vector<float> RandomFloats(int n) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(InstructionSetTest, EveryMachineHasThePortableOne) {
  EXPECT_EQ(SupportedInstructionSets().front(), InstructionSet::kPortable);
}

TEST(InstructionSetTest, IsTheBestOneOrThatOfTheVariable) {
  using instruction_set_internal::Choose;
  const auto supported = SupportedInstructionSets();
  EXPECT_EQ(Choose(nullptr), supported.back());
  EXPECT_EQ(Choose(""), supported.back());
  for (InstructionSet set : supported) {
    EXPECT_EQ(Choose(InstructionSetName(set).c_str()), set);
  }
  testing::internal::CaptureStderr();
  EXPECT_EQ(Choose("mmx"), supported.back());
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("MONOLITH_INSTRUCTION_SET: got 'mmx', wanted "
                                 "portable, avx2 or avx512"));
}

TEST(InstructionSetTest, OnlySupportedOnesCanBeForced) {
  const InstructionSet before = ActiveInstructionSet();
  const auto supported = SupportedInstructionSets();
  for (InstructionSet set : {InstructionSet::kAvx512, InstructionSet::kAvx2,
                             InstructionSet::kPortable}) {
    const bool has_it =
        std::find(supported.begin(), supported.end(), set) != supported.end();
    EXPECT_EQ(ForceInstructionSet(set), has_it) << InstructionSetName(set);
    if (has_it) {
      EXPECT_EQ(ActiveInstructionSet(), set);
    }
  }
  ForceInstructionSet(before);
}

class VectorizedLoopTest : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { ASSERT_TRUE(ForceInstructionSet(GetParam())); }
  void TearDown() override {
    ForceInstructionSet(SupportedInstructionSets().back());
  }
};

TEST_P(VectorizedLoopTest, VisitsEveryIndexOnceAndNoOther) {
  for (int n = 0; n <= kMaxLength; ++n) {
    std::vector<int> visits(n + 1);
    int* const visit = visits.data();
    VectorizedLoop(n, [=](int i) MONOLITH_INLINE { visit[i] += 1; });
    EXPECT_EQ(visits.back(), 0) << n;
    visits.pop_back();
    EXPECT_THAT(visits, testing::Each(1)) << n;
  }
}

TEST_P(VectorizedLoopTest, ComputesWhatAPlainLoopDoes) {
  const std::vector<float> in = RandomFloats(kMaxLength);
  for (int n = 0; n <= kMaxLength; ++n) {
    std::vector<float> out(n), wanted(n);
    // Fused multiply-add or an approximate root would show in the last bit.
    volatile float product, sum;
    for (int i = 0; i < n; ++i) {
      product = in[i] * in[i];
      sum = product + 0.3f;
      wanted[i] = in[i] / std::sqrt(sum);
    }
    const float* const x = in.data();
    float* const y = out.data();
    VectorizedLoop(n, [=](int i) MONOLITH_INLINE {
      y[i] = x[i] / std::sqrt(x[i] * x[i] + 0.3f);
    });
    EXPECT_EQ(out, wanted) << n;
  }
}

TEST_P(VectorizedLoopTest, SumsInOneOrder) {
  const std::vector<float> in = RandomFloats(kMaxLength);
  const float* const x = in.data();
  for (int n = 0; n <= kMaxLength; ++n) {
    const auto term = [=](int i)
                          MONOLITH_INLINE { return double{x[i]} * x[i]; };
    double plain = 0;
    for (int i = 0; i < n; ++i) plain += term(i);
    const double sum = VectorizedSum(n, term);
    EXPECT_NEAR(sum, plain, 1e-13 * plain) << n;
    ForceInstructionSet(InstructionSet::kPortable);
    EXPECT_EQ(sum, VectorizedSum(n, term)) << n;
    ForceInstructionSet(GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(All, VectorizedLoopTest,
                         testing::ValuesIn(SupportedInstructionSets()),
                         [](const auto& info) {
                           return InstructionSetName(info.param);
                         });

}  // namespace
}  // namespace monolith
