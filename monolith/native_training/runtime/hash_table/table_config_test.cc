#include "monolith/native_training/runtime/hash_table/table_config.h"

#include <limits>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

using testing::HasSubstr;

constexpr char kFull[] = R"({
  "name": "mov", "occurrence_threshold": 3,
  "admission_capacity": 5000, "expire_time": 1.5,
  "segments": [
    {"name": "vec", "dim": 32, "seed": 9223372036854775807,
     "initializer": {"type": "random_uniform", "minval": -0.1, "maxval": 0.1},
     "optimizer": {"type": "adam", "use_nesterov": true, "beta1": 0.9},
     "compressor": {"type": "fixed_r8", "fixed_range": 2}},
    {"name": "bias", "dim": 1}]})";

// A table whose only segment has the given members.
std::string WithSegment(const std::string& members) {
  return R"({"name": "t", "segments": [{)" + members + "}]}";
}

// Components in each other.
std::string Nested(int depth) {
  return depth == 0 ? "1" : R"({"type": "a", "o": )" + Nested(depth - 1) + "}";
}

std::string ErrorOf(const std::string& json) {
  auto config = ParseTableConfig(json);
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(config.status().message());
}

TEST(TableConfigTest, ReadsEveryKey) {
  auto config = ParseTableConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "mov");
  EXPECT_EQ(config->occurrence_threshold, 3);
  EXPECT_EQ(config->admission_capacity, 5000);
  EXPECT_EQ(config->expire_time_days, 1.5);
  ASSERT_EQ(config->segments.size(), 2u);
  const SegmentConfig& vec = config->segments[0];
  EXPECT_EQ(vec.name, "vec");
  EXPECT_EQ(vec.dim, 32);
  EXPECT_EQ(vec.seed, 9223372036854775807u);
  EXPECT_EQ(vec.initializer,
            (InitializerConfig{"random_uniform",
                               {{"minval", -0.1}, {"maxval", 0.1}}}));
  EXPECT_EQ(vec.optimizer,
            (OptimizerConfig{"adam", {{"use_nesterov", 1}, {"beta1", 0.9}}}));
  EXPECT_EQ(vec.compressor,
            (CompressorConfig{"fixed_r8", {{"fixed_range", 2}}}));
}

TEST(TableConfigTest, FillsInDefaults) {
  auto config = ParseTableConfig(WithSegment(R"("name": "v", "dim": 4)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->occurrence_threshold, 0);
  EXPECT_EQ(config->admission_capacity, 4194304);
  EXPECT_EQ(config->expire_time_days, 36500);
  EXPECT_EQ(config->segments[0].seed, 0u);
  EXPECT_EQ(config->segments[0].initializer.type, "random_uniform");
  EXPECT_EQ(config->segments[0].optimizer.type, "adagrad");
  EXPECT_EQ(config->segments[0].compressor.type, "fp16");
}

TEST(TableConfigTest, PrintsWhatItReads) {
  auto config = ParseTableConfig(kFull);
  ASSERT_TRUE(config.ok());
  auto again = ParseTableConfig(ToJson(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(*config == *again);
  again->segments[0].optimizer.params["beta1"] = 0.8;
  EXPECT_TRUE(*config != *again);
}

TEST(TableConfigTest, ReadsAndPrintsAComponentInAnother) {
  auto config = ParseTableConfig(WithSegment(
      R"("name": "v", "dim": 4,
         "optimizer": {"type": "a", "b": 2, "o": {"type": "c", "d": true}})"));
  ASSERT_TRUE(config.ok()) << config.status();
  const OptimizerConfig inner = {"c", {{"d", 1}}};
  const OptimizerConfig outer = {"a", {{"b", 2}}, {{"o", inner}}};
  EXPECT_TRUE(config->segments[0].optimizer == outer);
  auto again = ParseTableConfig(ToJson(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(*config == *again);
  again->segments[0].optimizer.components[0].second.params["d"] = 0;
  EXPECT_TRUE(*config != *again);
  EXPECT_TRUE(ParseTableConfig(WithSegment(R"("name": "v", "dim": 4,
      "optimizer": )" + Nested(4)))
                  .ok());
}

TEST(TableConfigTest, NamesWhatIsWrong) {
  const struct {
    std::string json;
    const char* error;
  } cases[] = {
      {"{", "not valid JSON"},
      {"[]", "must be an object, got []"},
      {"{}", "has no 'name'"},
      {R"({"name": "t"})", "has no 'segments'"},
      {R"({"name": "", "segments": []})", "empty name"},
      {R"({"name": "t", "segments": []})", "has no segments"},
      {R"({"name": "t", "segments": {}})", "table.segments must be an array"},
      {R"({"name": 3, "segments": []})", "table.name must be a string, got 3"},
      {R"({"nam": "t", "segments": []})", "unknown key 'nam'"},
      {R"({"name": "t", "name": "u", "segments": []})", "'name' twice"},
      {WithSegment(R"("dim": 4)"), "table.segments[0] has no 'name'"},
      {WithSegment(R"("name": "v")"), "table.segments[0] has no 'dim'"},
      {WithSegment(R"("name": "", "dim": 4)"), "empty name"},
      {WithSegment(R"("name": "v", "dim": 0)"), "from 1 to 65536, got 0"},
      {WithSegment(R"("name": "v", "dim": -3)"), "got -3"},
      {WithSegment(R"("name": "v", "dim": 65537)"), "got 65537"},
      {WithSegment(R"("name": "v", "dim": 4.5)"), "32-bit integer, got 4.5"},
      {WithSegment(R"("name": "v", "dim": 99999999999)"), "32-bit integer"},
      {WithSegment(R"("name": "v", "dim": "4")"), "got \"4\""},
      {WithSegment(R"("name": "v", "dim": 4, "seed": -1)"), "2^63 - 1, got -1"},
      {WithSegment(R"("name": "v", "dim": 4, "seed": 9223372036854775808)"),
       "2^63 - 1"},
      {WithSegment(R"("name": "v", "dim": 4, "seeds": 1)"), "known are"},
      {WithSegment(R"("name": "v", "dim": 4, "optimizer": "sgd")"),
       "segments[0].optimizer must be an object"},
      {WithSegment(R"("name": "v", "dim": 4, "optimizer": {})"),
       "segments[0].optimizer has no 'type'"},
      {WithSegment(R"("name": "v", "dim": 4, "optimizer": {"type": ""})"),
       "the optimizer has no type"},
      {WithSegment(
           R"("name": "v", "dim": 4, "optimizer": {"type": "a", "b": "c"})"),
       "optimizer.b must be a number, a boolean or an object, got \"c\""},
      {WithSegment(
           R"("name": "v", "dim": 4, "optimizer": {"type": "a", "b": {}})"),
       "segments[0].optimizer.b has no 'type'"},
      {WithSegment(
           R"("name": "v", "dim": 4, "optimizer": {"type": "a", "b": {"type": ""}})"),
       "segment 'v', optimizer: the b has no type"},
      {WithSegment(R"("name": "v", "dim": 4, "optimizer": )" + Nested(5)),
       "optimizer.o.o.o.o is nested deeper than 4 levels"},
      {WithSegment(
           R"("name": "v", "dim": 4, "optimizer": {"type": "a", "b": NaN})"),
       "not valid JSON"},
      {WithSegment(
           R"("name": "v", "dim": 4, "optimizer": {"type": "a", "b": 1e999})"),
       "not valid JSON"},
      {WithSegment(R"("name": "v", "dim": 4}, {"name": "v", "dim": 4)"),
       "segment 'v': two segments have this name"},
      {WithSegment(R"("name": "v", "dim": 65536}, {"name": "w", "dim": 1)"),
       "sum up to 65537"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(c.json), HasSubstr(c.error)) << c.json;
  }
}

TEST(TableConfigTest, ChecksRangesOfTheTable) {
  TableConfig config;
  config.name = "t";
  config.segments.resize(1);
  config.segments[0].name = "v";
  config.segments[0].dim = 1;
  EXPECT_TRUE(ValidateTableConfig(config).ok());
  for (int threshold : {-1, 65536}) {
    config.occurrence_threshold = threshold;
    EXPECT_THAT(std::string(ValidateTableConfig(config).message()),
                HasSubstr("'occurrence_threshold' must be from 0 to 65535"));
  }
  config.occurrence_threshold = 65535;
  for (const int capacity : {-1, 0, (1 << 30) + 1}) {
    config.admission_capacity = capacity;
    EXPECT_THAT(std::string(ValidateTableConfig(config).message()),
                HasSubstr("'admission_capacity' must be from 1 to 1073741824"));
  }
  config.admission_capacity = 1 << 30;
  for (double days : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                      std::numeric_limits<double>::quiet_NaN()}) {
    config.expire_time_days = days;
    EXPECT_THAT(std::string(ValidateTableConfig(config).message()),
                HasSubstr("'expire_time' must be a positive number"));
  }
  config.expire_time_days = 0.25;
  EXPECT_TRUE(ValidateTableConfig(config).ok());
  config.segments[0].optimizer.params["x"] =
      std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(std::string(ValidateTableConfig(config).message()),
              HasSubstr("'x' of the optimizer must be a finite number"));
}

TEST(TableConfigTest, ReadsSeveralTables) {
  const std::string table = WithSegment(R"("name": "v", "dim": 4)");
  auto configs = ParseTableConfigs("{\"tables\": [" + table + "]}");
  ASSERT_TRUE(configs.ok()) << configs.status();
  EXPECT_EQ(configs->size(), 1u);
  for (const auto& [json, error] : std::map<std::string, std::string>{
           {"{\"tables\": [" + table + "," + table + "]}",
            "two tables have the name 't'"},
           {"{\"tables\": []}", "at least one table"},
           {"{\"tables\": [" + table + ", 3]}", "tables[1] must be an object"},
           {"{}", "has no 'tables'"},
           {table, "unknown key"}}) {
    EXPECT_THAT(std::string(ParseTableConfigs(json).status().message()),
                HasSubstr(error));
  }
}

}  // namespace
}  // namespace monolith
