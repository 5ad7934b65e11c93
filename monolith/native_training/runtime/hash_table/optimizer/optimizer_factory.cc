#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_factory.h"

#include <map>

#include "monolith/native_training/runtime/hash_table/component_params.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adadelta_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_with_group_lasso_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/adam_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/amsgrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/dynamic_wd_adagrad_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/ftrl_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/ftrl_with_group_sparsity_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/momentum_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/moving_average_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/rmsprop_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/sgd_optimizer.h"
#include "monolith/native_training/runtime/hash_table/optimizer/stochastic_rounding_float16_optimizer.h"

namespace monolith {
namespace {

using Factory =
    absl::StatusOr<std::unique_ptr<Optimizer>> (*)(const OptimizerConfig&);

const std::map<std::string, Factory>& Factories() {
  static const auto* const factories = new std::map<std::string, Factory>{
      {"adadelta", AdadeltaOptimizer::Create},
      {"adagrad", AdagradOptimizer::Create},
      {"adagrad_with_group_lasso", AdagradWithGroupLassoOptimizer::Create},
      {"adam", AdamOptimizer::Create},
      {"amsgrad", AmsgradOptimizer::Create},
      {"dynamic_wd_adagrad", DynamicWdAdagradOptimizer::Create},
      {"ftrl", FtrlOptimizer::Create},
      {"ftrl_with_group_sparsity", FtrlWithGroupSparsityOptimizer::Create},
      {"momentum", MomentumOptimizer::Create},
      {"moving_average", MovingAverageOptimizer::Create},
      {"rmsprop", RmspropOptimizer::Create},
      {"sgd", SgdOptimizer::Create},
      {"stochastic_rounding_float16",
       StochasticRoundingFloat16Optimizer::Create},
  };
  return *factories;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> CreateOptimizer(
    const OptimizerConfig& config) {
  auto it = Factories().find(config.type);
  if (it == Factories().end()) {
    return UnknownTypeError("optimizer", config.type, OptimizerTypes());
  }
  return it->second(config);
}

std::vector<std::string> OptimizerTypes() {
  std::vector<std::string> types;
  for (const auto& [type, factory] : Factories()) types.push_back(type);
  return types;
}

}  // namespace monolith
