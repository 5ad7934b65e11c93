#include "monolith/native_training/runtime/ops/table_files/row_conversion.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/table_config.h"
#include "monolith/native_training/runtime/ops/table_files/table_file_format.h"

namespace monolith {
namespace {

using Table = std::unique_ptr<EmbeddingHashTable>;

OptimizerConfig Wrapped(const std::string& type) {
  return {"stochastic_rounding_float16", {}, {{"optimizer", {type, {}}}}};
}

Table MakeTable(const OptimizerConfig& optimizer) {
  SegmentConfig segment;
  segment.name = "vec";
  segment.dim = 2;
  segment.optimizer = optimizer;
  TableConfig config;
  config.name = "mov";
  config.segments = {segment};
  auto table = EmbeddingHashTable::Create(config);
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

RowConversion Conversion(const EmbeddingHashTable& from,
                         const EmbeddingHashTable& to) {
  TableFileHeader::Table file;
  file.config = from.config();
  file.state_dims = {from.state_dim()};
  auto conversion = RowConversion::Create(file, to, MustFit::kEverySegment);
  EXPECT_TRUE(conversion.ok()) << conversion.status();
  return *std::move(conversion);
}

TEST(RowConversionTest, StateIsOfTheOptimizerThatIsWrapped) {
  for (const auto& [before, now] :
       std::vector<std::pair<std::string, std::string>>{
           {"momentum", "adagrad"}, {"adagrad", "rmsprop"}, {"adam", "sgd"}}) {
    const Table from = MakeTable(Wrapped(before));
    const Table to = MakeTable(Wrapped(now));
    const RowConversion conversion = Conversion(*from, *to);
    EXPECT_FALSE(conversion.is_identity());
    ASSERT_EQ(conversion.warnings().size(), 1u);
    EXPECT_EQ(conversion.warnings()[0],
              "segment vec of table mov was trained with "
              "stochastic_rounding_float16(" +
                  before + "), now with stochastic_rounding_float16(" + now +
                  "): its optimizer state starts anew");
    EmbeddingHashTable::RowBatch rows;
    rows.ids = {7};
    rows.embeddings = {1, 2};
    rows.states.assign(from->state_dim(), 0.75f);
    std::vector<float> embeddings(2), states(to->state_dim());
    ASSERT_TRUE(
        conversion
            .Convert(rows, absl::MakeSpan(embeddings), absl::MakeSpan(states))
            .ok());
    EXPECT_EQ(embeddings, rows.embeddings);
    EXPECT_EQ(absl::MakeConstSpan(states), to->initial_state(0));
  }
}

TEST(RowConversionTest, OtherSettingsKeepTheState) {
  OptimizerConfig other = Wrapped("adagrad");
  other.components[0].second.params["learning_rate"] = 0.5;
  EXPECT_TRUE(Conversion(*MakeTable(Wrapped("adagrad")), *MakeTable(other))
                  .is_identity());
}

TEST(RowConversionTest, RowsOfAnotherWidthAreRefused) {
  const Table from = MakeTable({"adagrad", {}});
  const Table to = MakeTable({"sgd", {}});
  const RowConversion conversion = Conversion(*from, *to);
  EmbeddingHashTable::RowBatch rows;
  rows.ids = {7, 8};
  std::vector<float> embeddings(4);
  for (const auto& [floats, state_floats] :
       std::vector<std::pair<int, int>>{{2, 4}, {4, 2}, {6, 4}}) {
    rows.embeddings.assign(floats, 1);
    rows.states.assign(state_floats, 1);
    const absl::Status status =
        conversion.Convert(rows, absl::MakeSpan(embeddings), {});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

}  // namespace
}  // namespace monolith
