"""Paths as a person typed them."""

import os


def user_path(path: str) -> str:
  """An absolute path, relative ones counting from where the command was typed.

  `bazel run` starts a program somewhere else, and says where that was. An empty path
  and one of another file system, such as `gs://...`, stay as they are.
  """
  if not path or "://" in path:
    return path
  typed_in = os.environ.get("BUILD_WORKING_DIRECTORY", os.getcwd())
  return os.path.normpath(os.path.join(typed_in, os.path.expanduser(path)))
