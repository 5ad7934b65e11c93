#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_PROCESSOR_QUOTA_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_PROCESSOR_QUOTA_H_

#include <string>

namespace monolith {

// How many processors this process may keep busy: those it is allowed to run
// on, but no more than the quota of its control groups, which is how a
// container has 2.5 of a machine's 64. At least a hundredth.
//
// Thread-safe. Reads a few small files each time.
double UsableProcessors();

// The quota alone, of version 1 or 2 of control groups; infinity where there is
// none, or where the system does not tell. `root` is the folder that has `proc`
// and `sys`, with a slash at its end: another one in tests.
double ProcessorQuota(const std::string& root);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_PROCESSOR_QUOTA_H_
