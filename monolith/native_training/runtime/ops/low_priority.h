// Threads that leave the processor to others.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_LOW_PRIORITY_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_LOW_PRIORITY_H_

namespace monolith {

// Lets whoever trains have the processor first, before this thread, from now on
// until it ends.
void LowerPriority();

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_LOW_PRIORITY_H_
