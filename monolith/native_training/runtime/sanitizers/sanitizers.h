// Whether a test is compiled for a sanitizer, under which it may take fifty
// times as long, and memory says nothing.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_SANITIZERS_SANITIZERS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_SANITIZERS_SANITIZERS_H_

namespace monolith {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_SANITIZERS_SANITIZERS_H_
