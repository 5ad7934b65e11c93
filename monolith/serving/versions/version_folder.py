"""Versions of a model in its base folder, and which of them are to be served."""

import os
from collections.abc import Sequence

import tensorflow as tf

_MARKERS = ("saved_model.pb", "saved_model.pbtxt")
_MAX_VERSION = 2**63 - 1


def versions(base_path: str) -> list[int]:
  """Numbers of the complete exports in a folder, ascending; none if there is none.

  Raises:
    tf.errors.OpError: the folder cannot be read.
  """
  try:
    names = tf.io.gfile.listdir(base_path)
  except tf.errors.NotFoundError:
    return []
  numbers = []
  for name in names:
    name = name.rstrip("/")
    # A name such as 007 would be asked for as 7, whose folder is another.
    if not (name.isascii() and name.isdecimal() and name == str(int(name))):
      continue
    if int(name) <= _MAX_VERSION and _is_complete(os.path.join(base_path, name)):
      numbers.append(int(name))
  return sorted(numbers)


def _is_complete(path: str) -> bool:
  return any(tf.io.gfile.exists(os.path.join(path, marker)) for marker in _MARKERS)


def wanted(policy, found: Sequence[int]) -> list[int]:
  """The versions to serve, newest first.

  Args:
    policy: a `ServableVersionPolicy`; an empty one means the latest.
    found: versions there are, ascending.
  """
  kind = policy.WhichOneof("policy_choice")
  if kind == "all":
    return list(reversed(found))
  if kind == "specific":
    return [
      version for version in reversed(found) if version in policy.specific.versions
    ]
  count = max(policy.latest.num_versions, 1) if kind == "latest" else 1
  return list(reversed(found[-count:]))


def takes_older(policy) -> bool:
  """Whether a version that is not wanted may serve while those wanted cannot."""
  return policy.WhichOneof("policy_choice") in (None, "latest")
