#include "monolith/native_training/runtime/hash_table/row_schema.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SegmentConfig Segment(const char* name, int dim, double constant,
                      const char* optimizer) {
  SegmentConfig segment;
  segment.name = name;
  segment.dim = dim;
  segment.initializer = {"constants", {{"constant", constant}}};
  segment.optimizer = {optimizer, {{"learning_rate", 0.5}}};
  return segment;
}

TableConfig ThreeSegments() {
  TableConfig config;
  config.name = "t";
  config.segments = {Segment("a", 2, 1, "adagrad"), Segment("b", 1, 2, "sgd"),
                     Segment("c", 1, 3, "adagrad")};
  return config;
}

TEST(RowSchemaTest, LaysSegmentsSideBySideThenTheirStates) {
  auto schema = *RowSchema::Create(ThreeSegments());
  EXPECT_EQ(schema->dim(), 4);
  EXPECT_EQ(schema->state_dim(), 3);
  std::vector<float> row(schema->row_floats());
  schema->InitEmbedding(9, row.data());
  schema->InitState(row.data());
  EXPECT_THAT(row, ElementsAre(1, 1, 2, 3, .1f, .1f, .1f));
  EXPECT_THAT(schema->initial_state(0), ElementsAre(.1f, .1f));
  EXPECT_THAT(schema->initial_state(1), ElementsAre());
  EXPECT_THAT(schema->initial_state(2), ElementsAre(.1f));
}

TEST(RowSchemaTest, UpdatesEachSegmentWithItsOwnOptimizerAndRate) {
  auto schema = *RowSchema::Create(ThreeSegments());
  std::vector<float> row = {1, 1, 2, 3, 3, 8, 5};
  const std::vector<float> gradient = {1, 1, 10, 2};
  schema->Update(7, gradient.data(), schema->MakeContexts({4, 1, 6}, 0),
                 row.data());
  EXPECT_THAT(
      row, ElementsAre(1 - 4 / 2.f, 1 - 4 / 3.f, -8, 3 - 6 * 2 / 3.f, 4, 9, 9));
  row = {1, 1, 2, 3, 3, 8, 5};
  schema->Update(7, gradient.data(), schema->MakeContexts({}, 0), row.data());
  EXPECT_EQ(row[2], 2 - .5f * 10);
}

TEST(RowSchemaTest, KnowsWhatStatesCanBe) {
  TableConfig config = ThreeSegments();
  config.segments.push_back(Segment("d", 1, 4, "adam"));
  auto schema = *RowSchema::Create(config);
  std::vector<int> segments;
  std::vector<float> least;
  for (size_t i = 0; i < schema->state_ranges().size(); ++i) {
    segments.push_back(schema->SegmentOfState(i));
    least.push_back(schema->state_ranges()[i].least);
  }
  EXPECT_THAT(segments, ElementsAre(0, 0, 2, 3, 3, 3, 3));
  constexpr float kMin = std::numeric_limits<float>::min();
  EXPECT_THAT(least, ElementsAre(kMin, kMin, kMin,
                                 -std::numeric_limits<float>::max(), 0, 0, 0));
}

TEST(RowSchemaTest, NamesTheSegmentThatIsWrong) {
  TableConfig config = ThreeSegments();
  config.segments[1].optimizer.type = "adamant";
  auto schema = RowSchema::Create(config);
  EXPECT_THAT(std::string(schema.status().message()),
              HasSubstr("table 't', segment 'b': there is no optimizer "
                        "'adamant'; there are adadelta, adagrad"));
  config = ThreeSegments();
  config.segments[2].compressor.type = "fp8";
  schema = RowSchema::Create(config);
  EXPECT_THAT(std::string(schema.status().message()),
              HasSubstr("segment 'c': there is no compressor 'fp8'"));
}

}  // namespace
}  // namespace monolith
