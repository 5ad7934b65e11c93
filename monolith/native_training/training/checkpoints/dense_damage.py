"""Where files of dense variables are damaged, as far as that can be told."""

import tensorflow as tf

_MOST_NAMES = 3
# What TensorFlow's reader raises of damaged files; and of an index, of which it then
# knows no variables.
_DAMAGED = (tf.errors.OpError, IndexError, RuntimeError, ValueError)


def place(path: str) -> str:
  """Names the variables that cannot be read, by the checksums of TensorFlow itself;
  `""` where it is none of them.

  Args:
    path: of a checkpoint, without suffix.
  """
  try:
    reader = tf.train.load_checkpoint(path)
    names = sorted(reader.get_variable_to_shape_map())
  except _DAMAGED:
    return ""
  damaged = [name for name in names if not _is_readable(reader, name)]
  if not damaged:
    return ""
  more = f" and {len(damaged) - _MOST_NAMES} more" if damaged[_MOST_NAMES:] else ""
  return f"in the values of {', '.join(damaged[:_MOST_NAMES])}{more}"


def _is_readable(reader, name: str) -> bool:
  try:
    reader.get_tensor(name)
  except _DAMAGED:
    return False
  return True
