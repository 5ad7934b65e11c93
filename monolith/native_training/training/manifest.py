"""The manifest of a checkpoint: what makes its files one. It has a checksum."""

import dataclasses
import hashlib
import json
import os
from typing import Any

import tensorflow as tf

NAME = "manifest.json"
FORMAT_VERSION = 2
_READ_BYTES = 1 << 20


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


def write(path: str, manifest: Manifest) -> None:
  """Writes a manifest, so that readers see all of it or what was there before."""
  content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(manifest)}
  content["checksum"] = _checksum(content)
  replace_file(path, _text(content))


def read(path: str) -> Manifest:
  """Reads a manifest.

  Raises:
    ValueError: it cannot be read, is damaged, or is from another version.
  """
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      data = file.read()
  except tf.errors.OpError as error:
    raise ValueError(f"{path}: cannot be read ({error.message})") from None
  try:
    text = data.decode()
    content = json.loads(text)
  except (RecursionError, ValueError) as error:
    raise ValueError(f"{path}: damaged manifest ({error})") from None
  if not isinstance(content, dict):
    raise ValueError(f"{path}: damaged manifest (no JSON object)")
  version = content.pop("format_version", None)
  if version != FORMAT_VERSION:
    raise ValueError(
      f"{path}: got format version {version}, this program reads {FORMAT_VERSION}"
    )
  checksum = content.pop("checksum", None)
  versioned = {"format_version": version, **content}
  is_as_written = text == _text({**versioned, "checksum": checksum})
  if checksum != _checksum(versioned) or not is_as_written:
    raise ValueError(f"{path}: damaged manifest (its checksum is wrong)")
  # What passes the checksum was written by a program of this version.
  return Manifest(**content)


def _text(content: dict[str, Any]) -> str:
  return json.dumps(content, indent=2) + "\n"


def _checksum(content: dict[str, Any]) -> str:
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def replace_file(path: str, text: str) -> None:
  """Writes a file so that readers see the old content or the new, never a part."""
  temporary = path + ".tmp"
  with tf.io.gfile.GFile(temporary, "w") as file:
    file.write(text)
  flush_to_storage(temporary)
  tf.io.gfile.rename(temporary, path, overwrite=True)


def flush_to_storage(path: str) -> None:
  """Lets a file of this machine outlive a loss of power; others are their storage's
  matter."""
  if os.path.isfile(path):
    with open(path, "rb") as file:
      os.fsync(file.fileno())


def digest(path: str) -> str:
  """Size and SHA-256 of a file, as text."""
  sha256, size = hashlib.sha256(), 0
  with tf.io.gfile.GFile(path, "rb") as file:
    while block := file.read(_READ_BYTES):
      sha256.update(block)
      size += len(block)
  return f"{size} bytes, sha256 {sha256.hexdigest()}"


def check_digest(path: str, wanted: str) -> None:
  """Raises a ValueError unless a file has a digest."""
  try:
    got = digest(path)
  except tf.errors.OpError as error:
    raise ValueError(f"{path}: cannot be read ({error.message})") from None
  if got != wanted:
    raise ValueError(f"{path} is damaged: it has {got}, its manifest says {wanted}")
