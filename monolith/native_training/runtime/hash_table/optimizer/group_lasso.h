#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_GROUP_LASSO_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_GROUP_LASSO_H_

#include <cmath>

#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

// The norm of the x that minimizes
//   <u, x> + <x, H x> / 2 + penalty * ||x||
// for a diagonal H (Duchi, Hazan, Singer: Adaptive Subgradient Methods for
// Online Learning and Stochastic Optimization, 2011, section 5). x is 0 if
// ||u|| <= penalty, and else
//   x_i = -u_i / (H_i + penalty / ||x||).
//
// Taking norms on both sides gives one equation for r = ||x||,
//   f(r) = sum of (u_i / (H_i r + penalty))^2 = 1.
// The paper bisects. 1 / sqrt(f) is concave and increasing (a power mean of
// straight lines), so Newton's method on it rises to the solution from r = 0,
// in one step if all H_i are alike.
//
// `linear(i)` gives u_i and `quadratic(i)` H_i >= 0 as doubles; H_i > 0 where
// u_i is not 0. penalty > 0.
//
// Thread safety: a plain function.
template <typename Linear, typename Quadratic>
double GroupLassoNorm(int n, Linear linear, Quadratic quadratic,
                      double penalty) {
  constexpr int kMaxSteps = 50;
  constexpr double kPrecision = 1e-12;
  const double squares = VectorizedSum(
      n, [=](int i) MONOLITH_INLINE { return linear(i) * linear(i); });
  if (std::sqrt(squares) <= penalty) return 0;
  double norm = 0;
  for (int step = 0; step < kMaxSteps; ++step) {
    const double f = VectorizedSum(n, [=](int i) MONOLITH_INLINE {
      const double x = linear(i) / (quadratic(i) * norm + penalty);
      return x * x;
    });
    const double slope = VectorizedSum(n, [=](int i) MONOLITH_INLINE {
      const double scale = quadratic(i) * norm + penalty;
      const double x = linear(i) / scale;
      return x * x * (quadratic(i) / scale);
    });
    const double rise = f * (std::sqrt(f) - 1) / slope;
    if (!(rise > kPrecision * norm)) break;
    norm += rise;
  }
  return norm;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_GROUP_LASSO_H_
