#include "monolith/native_training/runtime/hash_table/gradient_sums.h"

#include <limits>
#include <random>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(GradientSumsTest, SumsRepeatedIdsInOrder) {
  const std::vector<int64_t> ids = {5, -1, 5, 7, 5};
  const std::vector<float> gradients = {1e8f, 1, 2, 2, 1, 3, 4, 4, -1e8f, 5};
  const std::vector<uint32_t> positions = {0, 1, 2, 3, 4};
  const GradientSums sums(ids, gradients, 2, positions);
  ASSERT_EQ(sums.entries().size(), 3u);
  EXPECT_EQ(sums.entries()[0].id, 5);
  EXPECT_EQ(sums.entries()[0].gradient[0], (1e8f + 1) - 1e8f);
  EXPECT_EQ(sums.entries()[0].gradient[1], 9);
  EXPECT_EQ(sums.entries()[1].id, -1);
  EXPECT_EQ(sums.entries()[1].gradient, gradients.data() + 2);  // not copied
  EXPECT_EQ(sums.entries()[2].gradient[1], 4);
}

TEST(GradientSumsTest, LooksOnlyAtItsPositions) {
  const std::vector<int64_t> ids = {1, 1, 1};
  const std::vector<float> gradients = {1, 10, 100};
  const std::vector<uint32_t> positions = {0, 2};
  const GradientSums sums(ids, gradients, 1, positions);
  ASSERT_EQ(sums.entries().size(), 1u);
  EXPECT_EQ(sums.entries()[0].gradient[0], 101);
  EXPECT_TRUE(GradientSums(ids, gradients, 1, {}).entries().empty());
}

TEST(GradientSumsTest, CountsOccurrencesWhereThatIsWanted) {
  const std::vector<int64_t> ids = {5, -1, 5, 5};
  const std::vector<float> gradients = {1, 2, 3, 4};
  const std::vector<uint32_t> positions = {0, 1, 3};
  const GradientSums once(ids, gradients, 1, positions, {true, {}});
  ASSERT_EQ(once.occurrences().size(), 2u);
  EXPECT_EQ(once.occurrences()[0], 2u);
  EXPECT_EQ(once.occurrences()[1], 1u);
  const std::vector<uint16_t> given = {65535, 3, 100, 65535};
  const GradientSums many(ids, gradients, 1, positions, {true, given});
  ASSERT_EQ(many.occurrences().size(), 2u);
  EXPECT_EQ(many.occurrences()[0], 2u * 65535);
  EXPECT_EQ(many.occurrences()[1], 3u);
  EXPECT_TRUE(GradientSums(ids, gradients, 1, positions).occurrences().empty());
}

TEST(GradientSumsTest, StaysFinite) {
  const float largest = std::numeric_limits<float>::max();
  const std::vector<int64_t> ids = {1, 1};
  const std::vector<float> gradients = {largest, -largest, largest, -largest};
  const std::vector<uint32_t> positions = {0, 1};
  const GradientSums sums(ids, gradients, 2, positions);
  EXPECT_EQ(sums.entries()[0].gradient[0], largest);
  EXPECT_EQ(sums.entries()[0].gradient[1], -largest);
}

TEST(GradientSumsTest, AgreesWithUnorderedMap) {
  std::mt19937 random(3);
  for (uint32_t distinct : {1, 10, 3000}) {
    std::vector<int64_t> ids;
    std::vector<float> gradients;
    std::vector<uint32_t> positions;
    std::unordered_map<int64_t, float> oracle;
    for (uint32_t i = 0; i < 5000; ++i) {
      ids.push_back(static_cast<int64_t>(random() % distinct) - 5);
      gradients.push_back(static_cast<float>(random() % 1000));
      positions.push_back(i);
      oracle[ids.back()] += gradients.back();
    }
    const GradientSums sums(ids, gradients, 1, positions);
    EXPECT_EQ(sums.entries().size(), oracle.size());
    for (const auto& entry : sums.entries()) {
      EXPECT_EQ(*entry.gradient, oracle.at(entry.id));
    }
  }
}

}  // namespace
}  // namespace monolith
