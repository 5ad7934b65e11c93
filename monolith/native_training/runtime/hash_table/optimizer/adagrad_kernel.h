#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_KERNEL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_KERNEL_H_

namespace monolith {

// The inner loop of AdagradOptimizer, apart so that it can be compiled for
// several instruction sets. Arrays do not overlap and need no alignment;
// accumulators are above 0.
void AdagradKernel(const float* gradient,  // (n)
                   int n, float learning_rate, float weight_decay_factor,
                   float* embedding,     // (n)
                   float* accumulator);  // (n)

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_ADAGRAD_KERNEL_H_
