#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_EXECUTOR_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_EXECUTOR_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace monolith {

// Where the loops of a batch run: on the calling thread or on a pool as well.
//
// The runtime never starts threads of its own; whoever calls it decides which
// threads it may use. TensorFlow's worker pool is adapted in runtime/ops.
//
// Thread safety: implementations are thread-safe; several threads may call
// ParallelFor at the same time.
//
// Example:
//   ThreadPoolExecutor executor(4);
//   executor.ParallelFor(rows, [&](int64_t row) { Process(row); });
class Executor {
 public:
  virtual ~Executor() = default;

  // The number of calls of a body that may run at once, the calling thread
  // included; at least 1. A hint for how finely to divide work.
  virtual int num_threads() const = 0;

  // Calls body(0) ... body(n - 1), each exactly once, in any order and on any
  // thread. Returns after the last call has returned; all that the bodies wrote
  // is then visible to the caller. n <= 0 does nothing. `body` must not throw.
  virtual void ParallelFor(int64_t n,
                           absl::FunctionRef<void(int64_t)> body) = 0;
};

// Runs everything in order on the calling thread.
class InlineExecutor final : public Executor {
 public:
  // One shared instance; it has no state.
  static InlineExecutor& Get() {
    static InlineExecutor instance;
    return instance;
  }

  int num_threads() const override { return 1; }

  void ParallelFor(int64_t n, absl::FunctionRef<void(int64_t)> body) override {
    for (int64_t i = 0; i < n; ++i) body(i);
  }
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_CONCURRENCY_EXECUTOR_H_
