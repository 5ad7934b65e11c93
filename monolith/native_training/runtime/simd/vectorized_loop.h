#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_VECTORIZED_LOOP_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_VECTORIZED_LOOP_H_

#include "monolith/native_training/runtime/simd/instruction_set.h"

// Loops over floats, compiled for each instruction set from one source.
//
// The body is a lambda of the index, which the compiler inlines into one
// function an instruction set (by function attributes, so that no file needs
// flags of its own and no inline function of a library is compiled for
// instructions that a machine may lack) and vectorizes there. At run time a
// loop is one load, one branch and one call away.
//
// Results do not depend on the instruction set, to the last bit, if the file is
// compiled with KERNEL_COPTS of tools/build_defs/monolith.bzl: every float goes
// through the same operations, and sums are taken in one order.
//
// Iterations must not depend on each other. The body must capture by value and
// be marked MONOLITH_INLINE.
//
// Thread safety: plain functions.
//
// Example:
//   VectorizedLoop(n, [=](int i) MONOLITH_INLINE { w[i] -= rate * g[i]; });
//   const double squares = VectorizedSum(
//       n, [=](int i) MONOLITH_INLINE { return double{w[i]} * w[i]; });

#define MONOLITH_INLINE __attribute__((always_inline))

#if defined(__clang__)
#define MONOLITH_INDEPENDENT_ITERATIONS \
  _Pragma("clang loop vectorize(assume_safety)")
#define MONOLITH_TARGET_AVX512 "avx2,avx512f,avx512bw,avx512dq,avx512vl"
#else
#define MONOLITH_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#define MONOLITH_TARGET_AVX512 \
  "avx2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"
#endif

namespace monolith {
namespace simd_internal {

// What is run for each instruction set. Copies of the body are the functions'
// own, so that no store can change what it captured.

template <typename Body>
struct Loop {
  using Result = void;

  static inline MONOLITH_INLINE void Run(int n, const Body& original) {
    const Body body = original;
    MONOLITH_INDEPENDENT_ITERATIONS
    for (int i = 0; i < n; ++i) body(i);
  }
};

template <typename Term>
struct Sum {
  using Result = double;

  static inline MONOLITH_INLINE double Run(int n, const Term& original) {
    constexpr int kLanes = 8;
    const Term term = original;
    double sums[kLanes] = {};
    int begin = 0;
    for (; begin + kLanes <= n; begin += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane)
        sums[lane] += term(begin + lane);
    }
    for (int lane = 0; begin + lane < n; ++lane) {
      sums[lane] += term(begin + lane);
    }
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    }
    return sums[0];
  }
};

template <typename Kernel, typename Body>
__attribute__((noinline)) typename Kernel::Result RunPortable(
    int n, const Body& body) {
  return Kernel::Run(n, body);
}

#if defined(__x86_64__)
template <typename Kernel, typename Body>
__attribute__((noinline, target("avx2"))) typename Kernel::Result RunAvx2(
    int n, const Body& body) {
  return Kernel::Run(n, body);
}

template <typename Kernel, typename Body>
__attribute__((noinline, target(MONOLITH_TARGET_AVX512)))
typename Kernel::Result
RunAvx512(int n, const Body& body) {
  return Kernel::Run(n, body);
}
#endif

template <typename Kernel, typename Body>
inline typename Kernel::Result Dispatch(int n, const Body& body) {
#if defined(__x86_64__)
  switch (ActiveInstructionSet()) {
    case InstructionSet::kAvx512:
      return RunAvx512<Kernel>(n, body);
    case InstructionSet::kAvx2:
      return RunAvx2<Kernel>(n, body);
    case InstructionSet::kPortable:
      break;
  }
#endif
  return RunPortable<Kernel>(n, body);
}

}  // namespace simd_internal

// Calls body(0) ... body(n - 1), in any order.
template <typename Body>
inline void VectorizedLoop(int n, const Body& body) {
  simd_internal::Dispatch<simd_internal::Loop<Body>>(n, body);
}

// The sum of term(0) ... term(n - 1), doubles, in an order that depends on n
// alone.
template <typename Term>
inline double VectorizedSum(int n, const Term& term) {
  return simd_internal::Dispatch<simd_internal::Sum<Term>>(n, term);
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_VECTORIZED_LOOP_H_
