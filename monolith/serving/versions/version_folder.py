"""Versions of a model in its base folder, and which of them are to be served."""

import os
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_serving.config import file_system_storage_path_source_pb2

from monolith.native_training.local_files.local_path import local_path
from monolith.native_training.model_export import numbered_exports

Policy = (
  file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig
).ServableVersionPolicy
# Of every file and folder in an export, its name and state.
Identity = tuple[tuple[str | int, ...], ...]


def versions(base_path: str) -> list[int]:
  """Numbers of the complete exports in a folder, ascending; none if there is none.

  Raises:
    tf.errors.OpError: the folder cannot be read.
  """
  try:
    numbers = numbered_exports.numbers(base_path)
  except tf.errors.NotFoundError:
    return []
  return [
    n for n in numbers if numbered_exports.is_model(os.path.join(base_path, str(n)))
  ]


def identity(path: str) -> Identity | None:
  """Tells an export from another one that takes its place, and from itself when any of
  its files has changed; None where there is none.

  Raises:
    OSError, tf.errors.OpError: it cannot be read.
  """
  if not numbered_exports.is_model(path):
    return None
  local = local_path(path)
  walk = tf.io.gfile.walk(path) if local is None else os.walk(local)
  names = (
    os.path.join(folder, name)
    for folder, folders, files in walk
    for name in (*folders, *files)
  )
  return tuple((name, *_state(name, local is not None)) for name in sorted(names))


def _state(name: str, is_local: bool) -> tuple[int, ...]:
  """Changes with a file or folder and with who may read it; empty where that cannot be
  told, such as of a link to nothing."""
  try:
    if not is_local:
      status = tf.io.gfile.stat(name)
      return status.mtime_nsec, status.length
    status = os.stat(name)  # TensorFlow tells seconds alone.
    return status.st_ctime_ns, status.st_size, status.st_ino
  except (OSError, tf.errors.OpError):
    return ()


def why_none(base_path: str) -> str:
  """Why a folder has no versions, for people.

  Raises:
    tf.errors.OpError: the folder cannot be read.
  """
  try:
    numbers = numbered_exports.numbers(base_path)
  except tf.errors.NotFoundError:
    if tf.io.gfile.exists(base_path) and not tf.io.gfile.isdir(base_path):
      return "it is a file, and no folder"
    return "there is no such folder"
  for number in reversed(numbers):
    if numbered_exports.is_distributed(os.path.join(base_path, str(number))):
      return (
        f"{number} is a distributed export, which this server does not serve yet; "
        "export with p.serving.export_mode = 'standalone'"
      )
  return "it has no numbered folder with a saved_model.pb"


def wanted(policy: Policy, found: Sequence[int]) -> list[int]:
  """The versions to serve, newest first.

  Args:
    policy: what `is_empty` refuses wants none; one without a choice means the latest.
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


def is_empty(policy: Policy) -> bool:
  """Whether a policy wants no version, whatever there is."""
  return (
    policy.WhichOneof("policy_choice") == "specific" and not policy.specific.versions
  )


def missing(policy: Policy, found: Sequence[int]) -> list[int]:
  """The versions, ascending, that a policy names but that are not there."""
  if policy.WhichOneof("policy_choice") != "specific":
    return []
  return sorted(set(policy.specific.versions).difference(found))


def takes_older(policy: Policy) -> bool:
  """Whether a version that is not wanted may serve while those wanted cannot."""
  return policy.WhichOneof("policy_choice") in (None, "latest")
