"""Files that are there as a whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

# Where processes have what they have open, which may be files.
_OF_PROCESSES = ("/dev/fd/", "/dev/std", "/proc/")


@contextlib.contextmanager
def replaced(path: str) -> Iterator[str]:
  """A new file, which takes the place of another unless something goes wrong.

  Args:
    path: of the file to be; of a link, what it points to is replaced.

  Raises:
    OSError: it cannot be written, or is there and no file; the message names it.
  """
  target = target_of(path)
  folder, name = os.path.split(target)
  try:
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
  except OSError as error:
    raise OSError(f"cannot write {path}: {error.strerror}") from None
  os.close(handle)
  try:
    yield temporary
    # mkstemp's are for their owner alone.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    os.replace(temporary, target)
  except BaseException:
    os.unlink(temporary)
    raise


def target_of(path: str) -> str:
  """The file that a new one at a path replaces: of a link, what it points to.

  Raises:
    OSError: what is there is no file; the message names it.
  """
  if os.path.isdir(path) or path.endswith("/"):
    raise IsADirectoryError(f"cannot write {path}: it is a folder")
  if is_no_file(path):
    raise OSError(f"cannot write {path}: it is no file that can be replaced")
  return os.path.realpath(path)


def write_text(path: str, text: str) -> None:
  """Replaces a file, or writes into what is none, such as a pipe or `/dev/stdout`.

  Raises:
    OSError: see `replaced`.
  """
  if is_no_file(path):
    with open(path, "w") as file:
      file.write(text)
    return
  with replaced(path) as temporary, open(temporary, "w") as file:
    file.write(text)


def is_no_file(path: str) -> bool:
  """Whether there is something that must be neither removed nor replaced: a folder, a
  pipe, a device, or a name for what a process has open."""
  is_special = os.path.exists(path) and not os.path.isfile(path)
  return is_special or os.path.abspath(path).startswith(_OF_PROCESSES)
