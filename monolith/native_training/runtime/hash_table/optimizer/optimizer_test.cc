// The suite that every optimizer passes. That each computes what TensorFlow
// does is tested from Python, in native_training/optimizer_conformance.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"
#include "monolith/native_training/runtime/simd/instruction_set.h"

namespace monolith {
namespace {

using testing::HasSubstr;

constexpr float kLargest = std::numeric_limits<float>::max();

// One segment of one row, and its optimizer.
class Row {
 public:
  Row(const OptimizerConfig& config, std::vector<float> start)
      : optimizer_(*CreateOptimizer(config)),
        embedding_(std::move(start)),
        state_(optimizer_->StateDim(static_cast<int>(embedding_.size()))) {
    optimizer_->InitState(absl::MakeSpan(state_));
  }

  void Update(const std::vector<float>& gradient, float rate, int64_t step) {
    optimizer_->Update(gradient, {rate, step}, absl::MakeSpan(embedding_),
                       absl::MakeSpan(state_));
  }
  void Update(const std::vector<float>& gradient, int64_t step = 0) {
    Update(gradient, optimizer_->default_learning_rate(), step);
  }

  const std::vector<float>& embedding() const { return embedding_; }
  const std::vector<float>& state() const { return state_; }

  // The first float of state that cannot be; state().size() if there is none.
  size_t ImpossibleState() const {
    std::vector<StateRange> ranges(state_.size());
    optimizer_->LimitState(absl::MakeSpan(ranges));
    size_t i = 0;
    while (i < state_.size() && state_[i] >= ranges[i].least &&
           state_[i] <= ranges[i].most) {
      ++i;
    }
    return i;
  }

 private:
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<float> embedding_;
  std::vector<float> state_;
};

std::vector<float> RandomFloats(int n, int seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

// Every setting that switches something on.
OptimizerConfig FullConfig(const std::string& type) {
  if (type == "stochastic_rounding_float16") {
    return {type, {}, {{"optimizer", FullConfig("adam")}}};
  }
  static const auto* const settings = new std::map<
      std::string, std::map<std::string, double>>{
      {"adagrad", {{"weight_decay_factor", 0.1}, {"warmup_steps", 20}}},
      {"adagrad_with_group_lasso",
       {{"weight_decay_factor", 0.1},
        {"warmup_steps", 20},
        {"l2_regularization", 0.1}}},
      {"adam", {{"use_nesterov", 1}, {"weight_decay_factor", 0.1}}},
      {"amsgrad", {{"weight_decay_factor", 0.1}}},
      {"dynamic_wd_adagrad",
       {{"weight_decay_factor", 0.1}, {"warmup_steps", 20}}},
      {"ftrl",
       {{"beta", 1}, {"l1_regularization", 0.3}, {"l2_regularization", 0.1}}},
      {"ftrl_with_group_sparsity",
       {{"beta", 1}, {"l1_regularization", 0.3}, {"l2_regularization", 0.1}}},
      {"momentum", {{"use_nesterov", 1}}},
  };
  auto it = settings->find(type);
  return {type,
          it == settings->end() ? std::map<std::string, double>() : it->second};
}

// Which minimizes nothing: it follows what it is fed.
bool IsAverage(const std::string& type) { return type == "moving_average"; }

// Whose rows forget their initial value.
bool StartsFromZero(const std::string& type) {
  return type.rfind("ftrl", 0) == 0;
}

class OptimizerTest : public testing::TestWithParam<std::string> {};

TEST_P(OptimizerTest, GoesDownhill) {
  if (IsAverage(GetParam())) return;
  for (const OptimizerConfig& config :
       {OptimizerConfig{GetParam(), {}}, FullConfig(GetParam())}) {
    for (int dim : {1, 7, 64}) {
      Row row(config, std::vector<float>(dim, 1));
      for (int64_t step = 0; step < 100; ++step) {
        row.Update(row.embedding(), step);  // the gradient of |w|^2 / 2
      }
      for (float w : row.embedding()) EXPECT_LT(std::abs(w), 0.95) << dim;
    }
  }
}

TEST_P(OptimizerTest, AZeroGradientOfANewRowChangesNothing) {
  Row row({GetParam(), {}}, {1, -2, 0});
  row.Update({0, 0, 0}, 1, 0);
  if (IsAverage(GetParam())) {
    EXPECT_THAT(row.embedding(),
                testing::Pointwise(testing::FloatEq(), {0.9f, -1.8f, 0.0f}));
  } else if (StartsFromZero(GetParam())) {
    EXPECT_THAT(row.embedding(), testing::Each(0));
  } else {
    EXPECT_THAT(row.embedding(), testing::ElementsAre(1, -2, 0));
  }
}

TEST_P(OptimizerTest, ALearningRateOfZeroChangesNoEmbedding) {
  if (IsAverage(GetParam())) return;
  Row row(FullConfig(GetParam()), {1, -2, 0});
  for (int step = 0; step < 3; ++step) row.Update({3, 0, -1}, 0, step);
  EXPECT_THAT(row.embedding(), testing::ElementsAre(1, -2, 0));
}

// The floats of a row depend on nothing but their own gradients, with the
// exception of the optimizers that look at a row's norm.
TEST_P(OptimizerTest, AnyWidthGivesTheSame) {
  const OptimizerConfig config = {GetParam(), {}};
  constexpr int kMaxDim = 67;
  const bool depends_on_position = GetParam() == "stochastic_rounding_float16";
  const std::vector<float> start = RandomFloats(kMaxDim, 1);
  Row widest(config, start);
  std::vector<Row> rows;
  for (int dim = 1; dim < kMaxDim; ++dim) {
    const auto begin =
        start.begin() + (depends_on_position ? 0 : kMaxDim - dim);
    rows.emplace_back(config, std::vector<float>(begin, begin + dim));
  }
  for (int step = 0; step < 20; ++step) {
    const std::vector<float> gradient = RandomFloats(kMaxDim, 100 + step);
    widest.Update(gradient, step);
    for (int dim = 1; dim < kMaxDim; ++dim) {
      const auto begin =
          gradient.begin() + (depends_on_position ? 0 : kMaxDim - dim);
      rows[dim - 1].Update(std::vector<float>(begin, begin + dim), step);
    }
  }
  for (int dim = 1; dim < kMaxDim; ++dim) {
    const auto begin =
        widest.embedding().begin() + (depends_on_position ? 0 : kMaxDim - dim);
    EXPECT_EQ(rows[dim - 1].embedding(),
              std::vector<float>(begin, begin + dim));
  }
}

TEST_P(OptimizerTest, EveryInstructionSetGivesTheSameBits) {
  const auto train = [&](InstructionSet set, int dim) {
    EXPECT_TRUE(ForceInstructionSet(set));
    Row row(FullConfig(GetParam()), RandomFloats(dim, 1));
    for (int step = 0; step < 200; ++step) {
      row.Update(RandomFloats(dim, 100 + step), step);
    }
    std::vector<float> all = row.embedding();
    all.insert(all.end(), row.state().begin(), row.state().end());
    return all;
  };
  for (int dim = 1; dim <= 67; ++dim) {
    const std::vector<float> wanted = train(InstructionSet::kPortable, dim);
    for (InstructionSet set : SupportedInstructionSets()) {
      EXPECT_EQ(train(set, dim), wanted) << InstructionSetName(set);
    }
  }
}

TEST_P(OptimizerTest, StaysFinite) {
  const float extremes[] = {kLargest, -kLargest, 1e30f, -1e20f, 1e-45f, 0, 1};
  std::mt19937 random(3);
  std::uniform_int_distribution<size_t> pick(0, std::size(extremes) - 1);
  for (const OptimizerConfig& config :
       {OptimizerConfig{GetParam(), {}}, FullConfig(GetParam())}) {
    for (float rate : {0.05f, 1e-45f, 1e-30f, 1e30f, kLargest}) {
      Row row(config, RandomFloats(37, 1));
      for (int step = 0; step < 50; ++step) {
        std::vector<float> gradient(37);
        for (float& g : gradient) g = extremes[pick(random)];
        row.Update(gradient, rate, step);
        for (float w : row.embedding()) ASSERT_TRUE(std::isfinite(w)) << rate;
        for (float s : row.state()) ASSERT_TRUE(std::isfinite(s)) << rate;
        ASSERT_EQ(row.ImpossibleState(), row.state().size()) << rate;
      }
    }
  }
}

TEST_P(OptimizerTest, TheStateOfANewRowIsPossible) {
  for (int dim : {1, 7, 64}) {
    const Row row(FullConfig(GetParam()), std::vector<float>(dim, 1));
    EXPECT_EQ(row.ImpossibleState(), row.state().size());
  }
}

TEST_P(OptimizerTest, RefusesWhatItDoesNotHave) {
  OptimizerConfig config = {GetParam(), {{"momentun", 1}}};
  EXPECT_THAT(
      std::string(CreateOptimizer(config).status().message()),
      HasSubstr("'" + GetParam() + "' has no parameter 'momentun'; it has "));
  config = {GetParam(), {}, {{"inner", {"sgd", {}}}}};
  EXPECT_THAT(
      std::string(CreateOptimizer(config).status().message()),
      HasSubstr("'" + GetParam() + "' has no parameter 'inner'; it has "));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest,
                         testing::ValuesIn(OptimizerTypes()));

std::string ErrorOf(const OptimizerConfig& config) {
  return std::string(CreateOptimizer(config).status().message());
}

TEST(OptimizerFactoryTest, NamesTheKnownTypes) {
  EXPECT_THAT(ErrorOf({"adamant", {}}),
              HasSubstr("there is no optimizer 'adamant'; there are adadelta, "
                        "adagrad, adagrad_with_group_lasso, adam, amsgrad, "));
}

TEST(OptimizerFactoryTest, RefusesParametersOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const struct {
    const char* param;
    std::vector<const char*> types;
    std::vector<double> values;
    const char* wanted;
  } cases[] = {
      {"learning_rate",
       {"adadelta", "adagrad", "adagrad_with_group_lasso", "adam", "amsgrad",
        "dynamic_wd_adagrad", "ftrl", "ftrl_with_group_sparsity", "momentum",
        "rmsprop", "sgd"},
       {-1, nan, infinity, 1e39},
       "a finite float of at least 0"},
      {"weight_decay_factor",
       {"adagrad", "adagrad_with_group_lasso", "adam", "amsgrad",
        "dynamic_wd_adagrad"},
       {-1, nan},
       "a finite float of at least 0"},
      {"epsilon",
       {"adadelta", "adam", "amsgrad", "rmsprop"},
       {0, -1, 1e-50, nan},
       "a finite float above 0"},
      {"beta1",
       {"adam", "amsgrad"},
       {1, 1 - 1e-12, -0.1, 2, nan},
       "a finite float of at least 0 and below 1"},
      {"beta2",
       {"adam", "amsgrad"},
       {1, -0.1},
       "a finite float of at least 0 and below 1"},
      {"momentum",
       {"momentum", "moving_average", "rmsprop"},
       {1, -0.1},
       "a finite float of at least 0 and below 1"},
      {"averaging_ratio",
       {"adadelta"},
       {1, -0.1},
       "a finite float of at least 0 and below 1"},
      {"use_nesterov", {"adam", "momentum"}, {0.5, 2, -1, nan}, "0 or 1"},
      {"initial_accumulator_value",
       {"adagrad", "adagrad_with_group_lasso", "dynamic_wd_adagrad"},
       {0, -1, 1e-50},
       "a finite float of at least 1.17549e-38"},
      {"initial_accumulator_value",
       {"ftrl", "ftrl_with_group_sparsity"},
       {-1},
       "a finite float of at least 0"},
      {"l1_regularization",
       {"ftrl", "ftrl_with_group_sparsity"},
       {-1},
       "a finite float of at least 0"},
      {"l2_regularization",
       {"ftrl", "ftrl_with_group_sparsity", "adagrad_with_group_lasso"},
       {-1},
       "a finite float of at least 0"},
  };
  for (const auto& c : cases) {
    for (const char* type : c.types) {
      for (double value : c.values) {
        EXPECT_THAT(ErrorOf({type, {{c.param, value}}}),
                    HasSubstr(std::string("'") + type + "': '" + c.param +
                              "' must be " + c.wanted + ", got "));
      }
    }
  }
}

TEST(OptimizerFactoryTest, RefusesAComponentInPlaceOfANumber) {
  EXPECT_THAT(ErrorOf({"sgd", {}, {{"learning_rate", {"decay", {}}}}}),
              HasSubstr("'learning_rate' must be a number, got a 'decay'"));
}

TEST(AdagradOptimizerTest, WarmsUp) {
  for (const char* type :
       {"adagrad", "adagrad_with_group_lasso", "dynamic_wd_adagrad"}) {
    for (const auto& [step, part] : std::map<int64_t, float>{
             {0, 0.1f}, {4, 0.5f}, {9, 1.0f}, {1000, 1.0f}}) {
      Row row({type, {{"warmup_steps", 10}, {"initial_accumulator_value", 3}}},
              {1});
      row.Update({1}, 0.5f, step);
      EXPECT_FLOAT_EQ(row.embedding()[0], 1 - part * 0.5f / 2) << type;
    }
  }
}

TEST(AdamOptimizerTest, ARowCountsItsOwnSteps) {
  for (const char* type : {"adam", "amsgrad"}) {
    Row early({type, {}}, {1}), late({type, {}}, {1});
    early.Update({2}, 0);
    late.Update({2}, 1000000);
    EXPECT_EQ(early.embedding(), late.embedding());
    // The first step goes the learning rate far, if epsilon is nothing.
    Row full({type, {{"epsilon", 1e-20}}}, {1});
    full.Update({2}, 0.25f, 0);
    EXPECT_FLOAT_EQ(full.embedding()[0], 0.75f);
  }
}

TEST(FtrlOptimizerTest, StaysWhereSquaresOfGradientsVanish) {
  for (const float tiny : {1e-25f, -1e-30f}) {
    Row row({"ftrl", {{"initial_accumulator_value", 0}}}, {0.5f});
    row.Update({tiny}, 0);
    EXPECT_EQ(row.embedding()[0], 0.5f);
    row.Update({1}, 1);
    EXPECT_LT(std::abs(row.embedding()[0]), 1);
  }
}

TEST(FtrlOptimizerTest, WeightsWithoutSignalBecomeExactlyZero) {
  Row row({"ftrl", {{"l1_regularization", 5}, {"learning_rate", 0.1}}},
          std::vector<float>(20, 0.5f));
  for (int step = 0; step < 200; ++step) {
    std::vector<float> gradient = RandomFloats(20, step, 0.1f);
    for (int i = 0; i < 5; ++i) gradient[i] += row.embedding()[i] - 3;
    row.Update(gradient, step);
  }
  for (int i = 0; i < 20; ++i) {
    if (i < 5) {
      EXPECT_GT(row.embedding()[i], 0.5f) << i;
    } else {
      EXPECT_EQ(row.embedding()[i], 0) << i;
    }
  }
}

}  // namespace
}  // namespace monolith
