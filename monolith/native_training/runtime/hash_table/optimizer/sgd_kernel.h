#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_KERNEL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_KERNEL_H_

namespace monolith {

// The inner loop of SgdOptimizer, apart so that it can be compiled for several
// instruction sets. Arrays do not overlap and need no alignment.
void SgdKernel(const float* gradient,  // (n)
               int n, float learning_rate,
               float* embedding);  // (n)

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_SGD_KERNEL_H_
