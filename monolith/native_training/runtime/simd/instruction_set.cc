#include "monolith/native_training/runtime/simd/instruction_set.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace monolith {
namespace {

constexpr char kVariable[] = "MONOLITH_INSTRUCTION_SET";

bool IsSupported(InstructionSet set) {
  const auto supported = SupportedInstructionSets();
  return std::find(supported.begin(), supported.end(), set) != supported.end();
}

}  // namespace

namespace instruction_set_internal {

InstructionSet Choose(const char* wanted) {
  const InstructionSet best = SupportedInstructionSets().back();
  if (wanted == nullptr || *wanted == '\0') return best;
  for (InstructionSet set : SupportedInstructionSets()) {
    if (InstructionSetName(set) == wanted) return set;
  }
  std::fprintf(stderr,
               "%s: got '%s', wanted portable, avx2 or avx512 as far as this "
               "machine has them; using %s\n",
               kVariable, wanted, InstructionSetName(best).c_str());
  return best;
}

std::atomic<InstructionSet> active{Choose(std::getenv(kVariable))};

}  // namespace instruction_set_internal

std::string InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kPortable:
      break;
  }
  return "portable";
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kPortable};
#if defined(__x86_64__)
  __builtin_cpu_init();
  // These ask the operating system too, which must save the registers.
  if (__builtin_cpu_supports("avx2")) {
    sets.push_back(InstructionSet::kAvx2);
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      sets.push_back(InstructionSet::kAvx512);
    }
  }
#endif
  return sets;
}

bool ForceInstructionSet(InstructionSet set) {
  if (!IsSupported(set)) return false;
  instruction_set_internal::active = set;
  return true;
}

}  // namespace monolith
