#include "monolith/native_training/runtime/batch/row_splits.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

using ::testing::HasSubstr;

TEST(CheckRowSplitsTest, AcceptsRaggedRows) {
  EXPECT_TRUE(CheckRowSplits("s", {0}, 0).ok());
  EXPECT_TRUE(CheckRowSplits("s", {0, 0, 0}, 0).ok());
  EXPECT_TRUE(CheckRowSplits("s", {0, 2, 2, 3}, 3).ok());
}

TEST(CheckRowSplitsTest, SaysWhatIsWrong) {
  EXPECT_THAT(CheckRowSplits("splits of mov", {}, 0).message(),
              HasSubstr("splits of mov must have batch size + 1 entries"));
  EXPECT_THAT(CheckRowSplits("s", {1, 2}, 2).message(),
              HasSubstr("start at 0, got 1"));
  EXPECT_THAT(CheckRowSplits("s", {0, 2, 1, 3}, 3).message(),
              HasSubstr("got 2 followed by 1 at entry 2"));
  EXPECT_THAT(CheckRowSplits("s", {0, 2}, 3).message(),
              HasSubstr("got 2, wanted 3"));
  EXPECT_THAT(CheckRowSplits("s", {0, 9, 3}, 3).message(),
              HasSubstr("must not fall"));
}

}  // namespace
}  // namespace monolith
