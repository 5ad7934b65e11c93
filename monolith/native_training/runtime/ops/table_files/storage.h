// What storage needs beyond what TensorFlow's filesystems do by themselves.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_STORAGE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_STORAGE_H_

#include <string>

#include "absl/status/status.h"

namespace monolith {

// The error for who called an op that uses storage. Filesystems say Aborted,
// Unavailable or Cancelled when they give up trying again, which a session
// takes for a server that is gone or for its own end: these become Unknown,
// what it says of a disk's error, with the same text. Others stay as they are.
absl::Status StorageError(const absl::Status& error);

// Lets a closed file of this machine outlive a loss of power: TensorFlow's Sync
// only hands it to the kernel. Files with another scheme than file:// are their
// storage's matter.
absl::Status FlushFile(const std::string& name);

// Likewise the names of files that were made, renamed or removed in a folder.
absl::Status FlushFolder(const std::string& name);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_STORAGE_H_
