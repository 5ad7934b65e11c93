"""Files that readers see whole, and that stay there."""

import contextlib
import errno
import os

import tensorflow as tf

from monolith.native_training.local_files.local_path import local_path

_READ_BYTES = 1 << 20


def replace_file(path: str, text: str, flush: bool = True) -> None:
  """Writes a file so that readers see the old content or the new, never a part, also
  where storage is full or the process is killed.

  Args:
    flush: whether the new content is to outlive a loss of power.
  """
  temporary = path + ".tmp"
  try:
    with tf.io.gfile.GFile(temporary, "w") as file:
      file.write(text)
    if flush:
      flush_to_storage(temporary)
    tf.io.gfile.rename(temporary, path, overwrite=True)
  except (OSError, tf.errors.OpError):
    with contextlib.suppress(tf.errors.OpError):
      tf.io.gfile.remove(temporary)
    raise
  if flush:
    flush_to_storage(os.path.dirname(path))


def read_file(path: str) -> bytes:
  """Reads a file whole, also while `replace_file` puts another in its place.

  `GFile.read()` without a size asks how long the file of that name is, which may be
  another by then than the one that was opened.

  Raises:
    tf.errors.OpError: it cannot be read.
  """
  blocks = []
  with tf.io.gfile.GFile(path, "rb") as file:
    while block := file.read(_READ_BYTES):
      blocks.append(block)
  return b"".join(blocks)


def flush_to_storage(path: str) -> None:
  """Lets a file of this machine, or the names in a folder, outlive a loss of power;
  others are their storage's matter. `runtime/ops/table_files/storage.h` does the same.

  Raises:
    OSError: it is missing, or cannot be written.
  """
  local = local_path(path)
  if local is None:
    return
  # A pipe without a writer is not waited for.
  file = os.open(local or ".", os.O_RDONLY | os.O_NONBLOCK)
  try:
    os.fsync(file)
  except OSError as error:
    # Some filesystems do not know it for folders, and pipes have nothing to flush.
    if error.errno != errno.EINVAL:
      raise
  finally:
    os.close(file)
