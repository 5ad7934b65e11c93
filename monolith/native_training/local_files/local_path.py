"""Which paths are of this machine."""

import os


def local_path(path: str) -> str | None:
  """A path on this machine; None where it is elsewhere. What follows a scheme is a
  host, which TensorFlow ignores here, and the path."""
  scheme, is_url, rest = path.partition("://")
  if not is_url:
    return path
  if scheme != "file":
    return None
  _, slash, name = rest.partition("/")
  return slash + name


def without_parents(path: str) -> str:
  """A path without `..`, which TensorFlow takes back as text, and the system behind
  links and only in folders that are there: they would mean two places."""
  local = local_path(path)
  if local is None or ".." not in local.split("/"):
    return path
  return os.path.realpath(local)
