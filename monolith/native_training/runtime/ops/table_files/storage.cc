#include "monolith/native_training/runtime/ops/table_files/storage.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace monolith {
namespace {

constexpr absl::string_view kFileScheme = "file://";

// False for a name that is not one of this machine. What follows a scheme is a
// host, which TensorFlow ignores here, and the path.
bool LocalPath(const std::string& name, std::string* path) {
  *path = name;
  if (!absl::StrContains(name, "://")) return true;
  if (!absl::StartsWith(name, kFileScheme)) return false;
  const size_t begin = name.find('/', kFileScheme.size());
  *path = begin == std::string::npos ? std::string() : name.substr(begin);
  return true;
}

absl::Status Flush(const std::string& path, int flags) {
  // A pipe without a writer is not waited for.
  const int file =
      open(path.c_str(), flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot open ", path, " to flush it"));
  }
  absl::Status status;
  // Some filesystems do not know it for folders, and pipes have nothing to
  // flush.
  if (fsync(file) != 0 && errno != EINVAL) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("cannot flush ", path));
  }
  close(file);
  return status;
}

}  // namespace

absl::Status StorageError(const absl::Status& error) {
  switch (error.code()) {
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
      return absl::UnknownError(error.message());
    default:
      return error;
  }
}

absl::Status FlushFile(const std::string& name) {
  std::string path;
  if (!LocalPath(name, &path)) return absl::OkStatus();
  return Flush(path, 0);
}

absl::Status FlushFolder(const std::string& name) {
  std::string path;
  if (!LocalPath(name, &path)) return absl::OkStatus();
  return Flush(path.empty() ? "." : path, O_DIRECTORY);
}

}  // namespace monolith
