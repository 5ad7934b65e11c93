#include "monolith/native_training/runtime/batch/finite.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(FindNonFiniteTest, AcceptsAllFiniteNumbers) {
  using Limits = std::numeric_limits<float>;
  EXPECT_EQ(FindNonFinite({}), -1);
  const std::vector<float> values = {0.0f,
                                     -0.0f,
                                     1.0f,
                                     Limits::max(),
                                     Limits::lowest(),
                                     Limits::min(),
                                     Limits::denorm_min()};
  EXPECT_EQ(FindNonFinite(values), -1);
}

TEST(FindNonFiniteTest, FindsTheFirst) {
  using Limits = std::numeric_limits<float>;
  for (float bad : {Limits::quiet_NaN(), Limits::signaling_NaN(),
                    Limits::infinity(), -Limits::infinity()}) {
    for (int at : {0, 1, 1023, 1024, 2500}) {
      std::vector<float> values(2501, 1.0f);
      values[at] = bad;
      values.back() = bad;
      EXPECT_EQ(FindNonFinite(values), at);
    }
  }
}

}  // namespace
}  // namespace monolith
