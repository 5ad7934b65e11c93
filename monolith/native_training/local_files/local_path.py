"""Which paths are of this machine."""


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
