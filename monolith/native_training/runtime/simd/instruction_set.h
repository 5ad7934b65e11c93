#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_INSTRUCTION_SET_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_INSTRUCTION_SET_H_

#include <atomic>
#include <string>
#include <vector>

namespace monolith {

// Which of the processor's vector instructions loops use; see
// vectorized_loop.h.
//
// The best one that the machine has is chosen when the program starts. The
// environment variable MONOLITH_INSTRUCTION_SET, one of "portable", "avx2" and
// "avx512", chooses another one: for tests, and to find out whether a
// difference between two machines comes from here. It should not: results are
// the same to the last bit. A name that is unknown, or not of this machine, is
// reported to stderr and ignored.
//
// Thread safety: all functions may be called at any time.
enum class InstructionSet {
  kPortable = 0,  // what every machine of this architecture has
  kAvx2 = 1,      // x86-64 only
  kAvx512 = 2,    // x86-64 only: F, BW, DQ and VL
};

// "portable", "avx2", "avx512".
std::string InstructionSetName(InstructionSet set);

// Those that this machine can run, the best one last.
std::vector<InstructionSet> SupportedInstructionSets();

// Has loops use `set` from now on; false, without a change, where the machine
// cannot. For tests.
bool ForceInstructionSet(InstructionSet set);

namespace instruction_set_internal {

// The best set, or the one of this name; null or empty means no wish.
InstructionSet Choose(const char* wanted);

// kPortable, which is always right, until it is initialized.
extern std::atomic<InstructionSet> active;

}  // namespace instruction_set_internal

// What loops use now.
inline InstructionSet ActiveInstructionSet() {
  return instruction_set_internal::active.load(std::memory_order_relaxed);
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_SIMD_INSTRUCTION_SET_H_
