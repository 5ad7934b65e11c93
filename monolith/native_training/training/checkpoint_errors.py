"""Why a checkpoint is not restored: the three kinds need different things done."""

import tensorflow as tf

# What storage says that does not work, or not now; an error of a disk is `Unknown`. All
# else is about the data, and NotFound is what storage that works says of a file.
_STORAGE_FAILS = (
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.PermissionDeniedError,
  tf.errors.ResourceExhaustedError,
  tf.errors.UnauthenticatedError,
  tf.errors.UnavailableError,
  tf.errors.UnknownError,
)


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
  kind = StorageError if isinstance(error, _STORAGE_FAILS) else DamagedCheckpointError
  return kind(message)
