#include "monolith/native_training/runtime/batch/finite.h"

#include <limits>

#include "gtest/gtest.h"

namespace monolith {
namespace {

using Limits = std::numeric_limits<float>;

TEST(IsFiniteTest, TellsThemApart) {
  for (float good : {0.0f, -0.0f, 1.0f, Limits::max(), Limits::lowest(),
                     Limits::min(), Limits::denorm_min()}) {
    EXPECT_TRUE(IsFinite(good)) << good;
  }
  for (float bad : {Limits::quiet_NaN(), Limits::signaling_NaN(),
                    Limits::infinity(), -Limits::infinity()}) {
    EXPECT_FALSE(IsFinite(bad)) << bad;
  }
}

}  // namespace
}  // namespace monolith
