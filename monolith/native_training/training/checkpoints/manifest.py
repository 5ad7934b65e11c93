"""The manifest of a checkpoint: what makes its files one. It has a checksum."""

import dataclasses
import hashlib
import json
import os
import re
from typing import Any

import tensorflow as tf

from monolith.native_training.training.checkpoints import checkpoint_errors, storage
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)

NAME = "manifest.json"
FORMAT_VERSION = 2
_READ_BYTES = 1 << 20
_END_OF_9999 = 253402300800  # What libraries of dates and times can tell.
# What follows the checkpoint's path in the names of files of dense variables.
_OF_DENSE_FILE = re.compile(r"\.(index|data-\d+-of-\d+)")


@dataclasses.dataclass
class Manifest:
  """What a checkpoint is made of.

  Attributes:
    global_step: of which it is.
    save_id: what its files of rows call the save.
    table_files: files of rows, beside the manifest.
    tables: names of the tables.
    rows: how many rows the files have, all tables together.
    erased: how many ids they have that lost their row since the base.
    dense_files: files of dense variables, what follows the checkpoint's path in their
      names -> their digests.
    base: name of the checkpoint whose rows have to be restored first; `""` is none.
    base_save_id: the `save_id` of that one.
    saved_at: seconds since 1970.
    final: whether training ended with it.
    data_from_start: whether training that goes on from it begins its data anew.
  """

  global_step: int
  save_id: str
  table_files: list[str]
  tables: list[str]
  rows: int
  erased: int = 0
  dense_files: dict[str, str] = dataclasses.field(default_factory=dict)
  base: str = ""
  base_save_id: str = ""
  saved_at: int = 0
  final: bool = False
  data_from_start: bool = False


def write(path: str, manifest: Manifest) -> None:
  """Writes a manifest, so that readers see all of it or what was there before."""
  content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(manifest)}
  content["checksum"] = _checksum(content)
  storage.replace_file(path, _text(content))


def read(path: str) -> Manifest:
  """Reads a manifest.

  Raises:
    DamagedCheckpointError: it is missing, damaged, or from another version.
    StorageError: it cannot be read.
  """
  try:
    data = storage.read_file(path)
  except tf.errors.OpError as error:
    message = f"{path}: cannot be read ({error.message})"
    raise checkpoint_errors.of_reading(error, message) from None
  try:
    text = data.decode()
    content = json.loads(text)
  except UnicodeDecodeError as error:
    raise _damaged(path, f"no UTF-8: {error.reason}", error.start) from None
  except json.JSONDecodeError as error:
    raise _damaged(path, error.msg, len(error.doc[: error.pos].encode())) from None
  except (RecursionError, ValueError) as error:
    raise _damaged(path, str(error)) from None
  if not isinstance(content, dict):
    raise _damaged(path, "no JSON object", 0)
  version = content.pop("format_version", None)
  if version != FORMAT_VERSION:
    raise DamagedCheckpointError(
      f"{path}: got format version {version}, this program reads {FORMAT_VERSION}"
    )
  checksum = content.pop("checksum", None)
  versioned = {"format_version": version, **content}
  if checksum != _checksum(versioned):
    raise _damaged(path, "its checksum is wrong")
  written = _text({**versioned, "checksum": checksum})
  if text != written:
    common = os.path.commonprefix([text, written])
    raise _damaged(path, "it is not as it was written", len(common.encode()))
  _check_fields(path, content)
  return Manifest(**content)


def _damaged(path: str, reason: str, byte: int | None = None) -> DamagedCheckpointError:
  """What to raise; `byte` is where it was noticed, if that is known."""
  where = "" if byte is None else f", at byte {byte}"
  return DamagedCheckpointError(f"{path}: damaged manifest ({reason}{where})")


def _check_fields(path: str, content: dict[str, Any]) -> None:
  """A checksum is no proof of who has written it."""
  fields = {field.name: field for field in dataclasses.fields(Manifest)}
  for name in sorted(content.keys() - fields.keys()):
    raise DamagedCheckpointError(f"{path}: this program knows no field {name!r}")
  for name, field in fields.items():
    if name not in content:
      if field.default is dataclasses.MISSING is field.default_factory:
        raise DamagedCheckpointError(f"{path}: field {name!r} is missing")
    elif not _is_of_type(content[name], field.type):
      raise DamagedCheckpointError(
        f"{path}: field {name!r} is {content[name]!r}, wanted {_type_name(field.type)}"
      )
  if content.get("saved_at", 0) >= _END_OF_9999:
    raise DamagedCheckpointError(
      f"{path}: field 'saved_at' is {content['saved_at']}, wanted seconds since 1970, "
      "before the year 10000"
    )
  for name in content["table_files"]:
    if os.path.basename(name) != name:
      raise DamagedCheckpointError(
        f"{path}: field 'table_files' names {name!r}, which is not beside the manifest"
      )
  base = content.get("base", "")
  if os.path.basename(base) != base:
    raise DamagedCheckpointError(
      f"{path}: field 'base' names {base!r}, which is not in the same folder"
    )
  for name in content.get("dense_files", ()):
    if not _OF_DENSE_FILE.fullmatch(name):
      raise DamagedCheckpointError(
        f"{path}: field 'dense_files' names {name!r}, which is no file of dense "
        "variables"
      )


def _is_of_type(value: Any, wanted: Any) -> bool:
  if wanted == list[str]:
    return isinstance(value, list) and all(type(each) is str for each in value)
  if wanted == dict[str, str]:
    return isinstance(value, dict) and all(type(v) is str for v in value.values())
  return type(value) is wanted and (wanted is not int or value >= 0)


def _type_name(wanted: Any) -> str:
  names = {int: "a whole number, 0 or more", bool: "true or false", str: "text"}
  return names.get(wanted, "names" if wanted == list[str] else "an object of texts")


def _text(content: dict[str, Any]) -> str:
  return json.dumps(content, indent=2) + "\n"


def _checksum(content: dict[str, Any]) -> str:
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def digest(path: str) -> str:
  """Size and SHA-256 of a file, as text."""
  sha256, size = hashlib.sha256(), 0
  with tf.io.gfile.GFile(path, "rb") as file:
    while block := file.read(_READ_BYTES):
      sha256.update(block)
      size += len(block)
  return f"{size} bytes, sha256 {sha256.hexdigest()}"


def check_digest(path: str, wanted: str) -> None:
  """Checks that a file is what it was.

  Raises:
    DamagedCheckpointError: it has not the digest, or is missing.
    StorageError: it cannot be read.
  """
  try:
    got = digest(path)
  except tf.errors.OpError as error:
    message = f"{path}: cannot be read ({error.message})"
    raise checkpoint_errors.of_reading(error, message) from None
  if got != wanted:
    raise DamagedCheckpointError(
      f"{path} is damaged: it has {got}, its manifest says {wanted}"
    )
