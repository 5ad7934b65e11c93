#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_UNLOCKED_CALL_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_UNLOCKED_CALL_H_

#include <exception>

#include "pybind11/pybind11.h"

namespace monolith {

// Runs `call`, which touches no Python object, without the interpreter's lock.
//
// Where Python is ending, a thread that wants the lock back is ended there, by
// unwinding its stack: no destructor may be what takes the lock, as that of
// pybind11::gil_scoped_release is.
template <typename Call>
void CallUnlocked(Call call) {
  std::exception_ptr error;
  PyThreadState* const thread = PyEval_SaveThread();
  try {
    call();
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  PyEval_RestoreThread(thread);
  if (error) std::rethrow_exception(error);
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_PYTHON_UNLOCKED_CALL_H_
