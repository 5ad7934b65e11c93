#include "monolith/native_training/runtime/hash_table/finite_check.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

using Limits = std::numeric_limits<float>;

TEST(IsFiniteTest, TellsThemApart) {
  for (float good : {0.0f, -0.0f, 1.0f, Limits::max(), Limits::lowest(),
                     Limits::min(), Limits::denorm_min()}) {
    EXPECT_TRUE(IsFinite(good)) << good;
    EXPECT_TRUE(IsFinite(static_cast<double>(good))) << good;
  }
  for (float bad : {Limits::quiet_NaN(), Limits::signaling_NaN(),
                    Limits::infinity(), -Limits::infinity()}) {
    EXPECT_FALSE(IsFinite(bad)) << bad;
    EXPECT_FALSE(IsFinite(static_cast<double>(bad))) << bad;
  }
  EXPECT_TRUE(IsFinite(std::numeric_limits<double>::max()));
}

TEST(FiniteCheckTest, FindsTheFirstOfAnyKindAnywhere) {
  ThreadPoolExecutor pool(3);
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (size_t n : {size_t{0}, size_t{1}, size_t{1023}, size_t{300000}}) {
    std::vector<float> values(n, std::numeric_limits<float>::max());
    for (Executor* executor : {static_cast<Executor*>(&InlineExecutor::Get()),
                               static_cast<Executor*>(&pool)}) {
      EXPECT_EQ(FindNonFinite(values, *executor), n);
      for (float bad : {infinity, -infinity, nan, -nan}) {
        for (size_t where : {size_t{0}, n / 2, n - 1}) {
          if (n == 0) continue;
          const float kept = values[where];
          values[where] = bad;
          values[n - 1] = bad;
          EXPECT_EQ(FindNonFinite(values, *executor), where);
          values[n - 1] = kept;
          values[where] = kept;
        }
      }
    }
  }
}

TEST(FiniteCheckTest, AcceptsDenormalsAndExtremes) {
  EXPECT_EQ(FindNonFinite({0.0f, -0.0f, std::numeric_limits<float>::lowest(),
                           std::numeric_limits<float>::denorm_min()},
                          InlineExecutor::Get()),
            4u);
}

}  // namespace
}  // namespace monolith
