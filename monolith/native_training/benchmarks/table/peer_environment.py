"""The Python environment with TensorFlow Recommenders Addons."""

from __future__ import annotations

import os
import pathlib

from third_party.python import create_environment

_THIRD_PARTY = pathlib.Path(create_environment.__file__).parent.parent
_LOCKS = (
  _THIRD_PARTY / "python" / "build_requirements.txt",
  _THIRD_PARTY / "recommenders_addons" / "requirements.txt",
)


class NoPeer(RuntimeError):
  """The environment could not be made; the message is one line."""


def recommenders_addons_python() -> str:
  """The environment's interpreter; at first use the environment is made, which takes
  about a minute and tells its progress.

  Raises:
    NoPeer: there is no environment.
  """
  try:
    root = create_environment.cache_root()
    environment = create_environment.ensure_environment(root, _LOCKS)
  except (create_environment.EnvironmentCreationError, OSError) as error:
    first, *_ = str(error).splitlines() or [type(error).__name__]
    raise NoPeer(first) from error
  return os.fspath(environment["python"])
