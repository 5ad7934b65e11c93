"""Why a checkpoint is not restored: the three kinds need different things done."""

import errno
import os

import tensorflow as tf

from monolith.native_training.runtime.ops import core_errors

# What storage says that does not work, or not now; an error of a disk is `Unknown`, and
# of a server far away `FailedPrecondition`. All else is about the data, and NotFound is
# what storage that works says of a file.
_STORAGE_FAILS = (
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.FailedPreconditionError,
  tf.errors.InternalError,
  tf.errors.PermissionDeniedError,
  tf.errors.ResourceExhaustedError,
  tf.errors.UnauthenticatedError,
  tf.errors.UnavailableError,
  tf.errors.UnknownError,
)


# What TensorFlow calls a failed precondition too: a folder is where a file should be,
# or the other way round.
_MISPLACED = (os.strerror(errno.EISDIR), os.strerror(errno.ENOTDIR))


class DamagedCheckpointError(ValueError):
  """Nobody can use it: a file is missing, damaged or from a newer version. An older one
  may do."""


class MisfitError(ValueError):
  """It is another model's. So are those before it: the model has to be changed, or
  another folder taken."""


class StorageError(OSError):
  """It could not be read just now, which says nothing about it."""


def of_reading(error: tf.errors.OpError, message: str) -> Exception:
  """What to raise where a file of a checkpoint could not be read.

  Args:
    error: what reading raised.
    message: names the file and the reason.
  """
  fails = isinstance(error, _STORAGE_FAILS)
  if isinstance(error, tf.errors.FailedPreconditionError):
    fails = not core_errors.sentence_of(error).endswith(_MISPLACED)
  return StorageError(message) if fails else DamagedCheckpointError(message)


class OtherSaverError(RuntimeError):
  """Another process saves checkpoints in the same folder."""
