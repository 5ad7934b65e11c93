"""Versions of a model in its base folder, and which of them are to be served."""

import os
from collections.abc import Sequence

import tensorflow as tf

_MARKERS = ("saved_model.pb", "saved_model.pbtxt")
_ENTRY = "entry"  # Of a distributed export.
_MAX_VERSION = 2**63 - 1
_MAX_DIGITS = len(str(_MAX_VERSION))


def versions(base_path: str) -> list[int]:
  """Numbers of the complete exports in a folder, ascending; none if there is none.

  Raises:
    tf.errors.OpError: the folder cannot be read.
  """
  try:
    numbers = _numbers(base_path)
  except tf.errors.NotFoundError:
    return []
  return [n for n in numbers if _is_complete(os.path.join(base_path, str(n)))]


def why_none(base_path: str) -> str:
  """Why a folder has no versions, for people.

  Raises:
    tf.errors.OpError: the folder cannot be read.
  """
  try:
    numbers = _numbers(base_path)
  except tf.errors.NotFoundError:
    return "there is no such folder"
  for number in reversed(numbers):
    if _is_complete(os.path.join(base_path, str(number), _ENTRY)):
      return (
        f"{number} is a distributed export, which this server does not serve yet; "
        "export with p.serving.export_mode = 'standalone'"
      )
  return f"it has no numbered folder with a {_MARKERS[0]}"


def _numbers(base_path: str) -> list[int]:
  """Of the folders that may be versions, ascending."""
  names = [name.rstrip("/") for name in tf.io.gfile.listdir(base_path)]
  return sorted(
    int(name)
    for name in names
    # A name such as 007 would be asked for as 7, whose folder is another.
    if name.isascii() and name.isdecimal() and len(name) <= _MAX_DIGITS
    if name == str(int(name)) and int(name) <= _MAX_VERSION
  )


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
