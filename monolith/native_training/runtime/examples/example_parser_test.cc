#include "monolith/native_training/runtime/examples/example_parser.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/examples/example_bytes.h"

namespace monolith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<FeatureSpec> Specs() {
  return {{"mov", ValueType::kInt64},
          {"label", ValueType::kFloat, 1},
          {"tag", ValueType::kBytes, 2}};
}

ExampleParser Parser(std::vector<FeatureSpec> specs = Specs()) {
  return *ExampleParser::Create(std::move(specs));
}

// Of `Specs`: an example need not have tags.
std::vector<FeatureValues> Defaults(const ExampleParser& parser) {
  std::vector<FeatureValues> defaults = parser.EmptyValues();
  defaults[2] = std::vector<absl::string_view>{"none", ""};
  return defaults;
}

// What is wrong with an example, "" if nothing.
std::string Fault(absl::string_view serialized) {
  // Memory of exactly this size, so that a sanitizer sees a byte too many.
  std::unique_ptr<char[]> copy(new char[serialized.size()]);
  serialized.copy(copy.get(), serialized.size());
  static const ExampleParser& parser = *new ExampleParser(Parser());
  std::vector<ExampleColumn> columns = parser.EmptyColumns();
  return parser.Describe(
      parser.Parse(absl::string_view(copy.get(), serialized.size()),
                   Defaults(parser), absl::MakeSpan(columns)));
}

ExampleFault FaultOf(const ExampleParser& parser,
                     absl::string_view serialized) {
  std::vector<ExampleColumn> columns = parser.EmptyColumns();
  return parser.Parse(serialized, parser.EmptyValues(),
                      absl::MakeSpan(columns));
}

const std::string& Label() {
  static const std::string& label =
      *new std::string(Entry("label", Floats({4.5})));
  return label;
}

TEST(ExampleParserTest, AppendsTheValuesOfGoodExamples) {
  const ExampleParser parser = Parser();
  const std::vector<FeatureValues> defaults = Defaults(parser);
  std::vector<ExampleColumn> columns = parser.EmptyColumns();
  const std::vector<std::string> examples = {
      Example({Entry("mov", Int64s({-1, 1 << 30})), Label(),
               Entry("tag", Strings({"", "drama"}))}),
      // Bad ones, which have got further and further before that shows.
      Example({Entry("mov", Floats({7}))}),
      Example({Entry("mov", Int64s({7})), Entry("label", Floats({1, 2}))}),
      Example({Entry("mov", Int64s({7})), Label(),
               Entry("tag", Strings({"a", "b", "c"}))}),
      Example({Entry("label", Floats({-2}, false)),
               Entry("mov", Int64s({5}, false))}),
      Example({Label()}),
  };
  std::vector<bool> good;
  for (const std::string& example : examples) {
    good.push_back(
        parser.Parse(example, defaults, absl::MakeSpan(columns)).kind ==
        ExampleFault::kNone);
  }
  EXPECT_THAT(good, ElementsAre(true, false, false, false, true, true));
  EXPECT_THAT(std::get<std::vector<int64_t>>(columns[0].values),
              ElementsAre(-1, 1 << 30, 5));
  EXPECT_THAT(columns[0].ends, ElementsAre(2, 3, 3));
  EXPECT_THAT(std::get<std::vector<float>>(columns[1].values),
              ElementsAre(4.5, -2, 4.5));
  EXPECT_THAT(columns[1].ends, ElementsAre(1, 2, 3));
  EXPECT_THAT(std::get<std::vector<absl::string_view>>(columns[2].values),
              ElementsAre("", "drama", "none", "", "none", ""));
  EXPECT_THAT(columns[2].ends, ElementsAre(2, 4, 6));
}

TEST(ExampleParserTest, AcceptsWhatIsWanted) {
  EXPECT_EQ(Fault(Example({Label()})), "");
  EXPECT_EQ(Fault(Example({Entry("mov", Int64s({-1, 1 << 30})), Label(),
                           Entry("tag", Strings({"", "drama"}))})),
            "");
  EXPECT_EQ(Fault(Example({Entry("mov", Int64s({-1, 7}, false)),
                           Entry("label", Floats({1}, false))})),
            "");
  EXPECT_EQ(Fault(Example({Label(), Entry("mov", ""), Entry("tag", "")})), "");
}

TEST(ExampleParserTest, SaysWhatIsWrong) {
  EXPECT_EQ(Fault("garbage"), "not a tf.train.Example");
  EXPECT_EQ(Fault("{\"mov\": 7}"), "not a tf.train.Example");
  EXPECT_EQ(Fault(""), "feature 'label' is missing");
  EXPECT_EQ(Fault(Example({Entry("label", "")})), "feature 'label' is missing");
  EXPECT_EQ(Fault(Example({Label(), Entry("mov", Floats({1}))})),
            "feature 'mov' is float, wanted int64");
  EXPECT_EQ(Fault(Example({Entry("label", Int64s({}))})),
            "feature 'label' is int64, wanted float");
  EXPECT_EQ(Fault(Example({Label(), Entry("mov", Strings({"x"}))})),
            "feature 'mov' is bytes, wanted int64");
  EXPECT_EQ(Fault(Example({Entry("label", Floats({}))})),
            "feature 'label' has more or fewer values than 1");
  EXPECT_EQ(Fault(Example({Label(), Entry("tag", Strings({"a", "b", "c"}))})),
            "feature 'tag' has more or fewer values than 2");
  EXPECT_EQ(Fault(Example({Label(), Entry("mov", Delimited(4, ""))})),
            "feature 'mov' has values that cannot be read");
}

TEST(ExampleParserTest, RejectsWhatEndsTensorFlowsProcess) {
  EXPECT_EQ(Fault(Example({Entry("label", Floats({1, 2, 3}, false))})),
            "feature 'label' has more or fewer values than 1");
  for (const uint64_t length : {(1ull << 31) + 5, (1ull << 32) - 1}) {
    const std::string block = absl::StrCat("\x0A", Varint(length));
    EXPECT_EQ(Fault(Example({Label(), Entry("tag", Delimited(1, block))})),
              "feature 'tag' has values that cannot be read");
    EXPECT_EQ(Fault(Example({Entry("label", Delimited(2, block))})),
              "feature 'label' has values that cannot be read");
  }
}

TEST(ExampleParserTest, TheLastOfSeveralValuesCounts) {
  const std::string wrong = Entry("label", Int64s({1}));
  EXPECT_EQ(Fault(Example({wrong, Label()})), "");
  EXPECT_EQ(Fault(Example({wrong}) + Example({Label()})), "");
  EXPECT_EQ(Fault(Example({Label(), wrong})),
            "feature 'label' is int64, wanted float");
  // An empty one hides values only where there may be any number of them.
  EXPECT_EQ(Fault(Example({Label(), Entry("label", "")})), "");
  EXPECT_EQ(Fault(Example({wrong, Entry("label", "")})),
            "feature 'label' is int64, wanted float");
  EXPECT_EQ(
      Fault(Example({Label(), Entry("mov", Floats({1})), Entry("mov", "")})),
      "");
  // The type of all is read.
  EXPECT_EQ(Fault(Example({Entry("label", "\x07"), Label()})),
            "feature 'label' has values that cannot be read");
}

TEST(ExampleParserTest, IgnoresWhatNobodyAskedFor) {
  EXPECT_EQ(Fault(Example({Label(), Entry("other", "\xFF\xFF")})), "");
  EXPECT_EQ(Fault(Example({Label()}) + Delimited(7, "something") +
                  std::string("\x18\x05\x25wxyz\x31stuvwxyz")),
            "");
  EXPECT_EQ(Fault(Example({Label()}) + "\x1B"), "not a tf.train.Example");
}

TEST(ExampleParserTest, ReportsTheFirstFaultInTheOrderOfTheSpecs) {
  EXPECT_EQ(
      Fault(Example({Entry("tag", Floats({})), Entry("mov", Floats({}))})),
      "feature 'mov' is float, wanted int64");
}

TEST(ExampleParserTest, FindsEachOfManyFeatures) {
  std::vector<FeatureSpec> specs;
  for (int i = 0; i < 500; ++i) {
    specs.push_back(
        {absl::StrCat("user_feature_", i, "_of_many"), ValueType::kInt64, 1});
  }
  const ExampleParser parser = Parser(specs);
  std::string features;
  for (size_t i = 0; i < specs.size(); ++i) {
    const ExampleFault fault = FaultOf(parser, Delimited(1, features));
    ASSERT_EQ(fault.kind, ExampleFault::kMissing);
    ASSERT_EQ(fault.feature, i);
    features += Entry(specs[i].name, Int64s({static_cast<int64_t>(i)}));
  }
  EXPECT_EQ(FaultOf(parser, Delimited(1, features)).kind, ExampleFault::kNone);
}

TEST(ExampleParserTest, AFeatureMayHaveAnyName) {
  const std::string nul("\0", 1);
  const ExampleParser parser =
      Parser({{"", ValueType::kInt64, 1}, {nul, ValueType::kInt64, 1}});
  EXPECT_EQ(FaultOf(parser, Example({Entry("", Int64s({1}))})).feature, 1);
  EXPECT_EQ(FaultOf(parser,
                    Example({Entry("", Int64s({1})), Entry(nul, Int64s({1}))}))
                .kind,
            ExampleFault::kNone);
}

TEST(ExampleParserTest, RefusesSpecsThatCannotBe) {
  const auto message = [](std::vector<FeatureSpec> specs) {
    return std::string(
        ExampleParser::Create(std::move(specs)).status().message());
  };
  EXPECT_THAT(message({{"a", ValueType::kInt64}, {"a", ValueType::kFloat}}),
              HasSubstr("feature 'a' is named twice"));
  EXPECT_THAT(message({{"a", ValueType::kInt64, -2}}), HasSubstr("got -2"));
}

// For sanitizers: whatever the bytes, nothing beyond them is read.
TEST(ExampleParserTest, SurvivesAnyBytes) {
  std::mt19937_64 random(17);
  const std::vector<std::string> seeds = {
      Example({Entry("mov", Int64s({-1, 3, 1 << 20})), Label(),
               Entry("tag", Strings({"ab", "c"}))}),
      Example({Entry("mov", Int64s({5, 6}, false)),
               Entry("label", Floats({1, 2}, false)), Entry("mov", "")}),
      "", "\x0A", std::string(64, '\xFF')};
  int good = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes = seeds[random() % seeds.size()];
    for (uint64_t changes = random() % 4; changes > 0; --changes) {
      if (bytes.empty()) break;
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
          break;
        case 1:
          bytes[at] = static_cast<char>(random());
          break;
        case 2:
          bytes.resize(at);
          break;
        default:
          bytes.insert(at, Varint(random() >> random() % 64));
      }
    }
    good += Fault(bytes).empty();
  }
  EXPECT_GT(good, 10'000);
  EXPECT_LT(good, 150'000);
}

}  // namespace
}  // namespace monolith
