"""Checkpoints: dense variables and embedding tables of one global step.

  model_dir/model.ckpt-STEP.index, .data-*   dense variables, TensorFlow's own format
  model_dir/model.ckpt-STEP.tables/          a file of rows from every server
  model_dir/model.ckpt-STEP.tables/manifest.json

The manifest is written last and renamed into place: a checkpoint without one does not
exist. Rows find their server again by id, so a checkpoint saved by any number of
servers is restored by any other.
"""

import json
import os
import re
import time
from collections.abc import Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import loader

FORMAT_VERSION = 1
_PREFIX = "model.ckpt-"
_MANIFEST = "manifest.json"
_MANIFEST_FIELDS = {"tables": list, "table_files": list, "rows": int}


def _tables_dir(path: str) -> str:
  return f"{path}.tables"


def _manifest_path(path: str) -> str:
  return os.path.join(_tables_dir(path), _MANIFEST)


def step_of(path: str) -> int:
  """The global step in a checkpoint's path."""
  return int(path.rsplit("-", 1)[1])


def checkpoints(model_dir: str) -> list[str]:
  """Paths of the complete checkpoints of a folder, oldest first."""
  if not model_dir or not tf.io.gfile.isdir(model_dir):
    return []
  pattern = re.compile(re.escape(_PREFIX) + r"(\d+)\.tables/?$")
  steps = (pattern.match(name) for name in tf.io.gfile.listdir(model_dir))
  paths = [
    os.path.join(model_dir, f"{_PREFIX}{step}")
    for step in sorted(int(match[1]) for match in steps if match)
  ]
  return [path for path in paths if is_complete(path)]


def is_complete(path: str) -> bool:
  """Whether there is a checkpoint at a path, with its manifest."""
  return tf.io.gfile.exists(_manifest_path(path))


def latest_checkpoint(model_dir: str) -> str | None:
  """Path of the newest complete checkpoint, without suffix, or None."""
  paths = checkpoints(model_dir)
  return paths[-1] if paths else None


def _replace_file(path: str, text: str) -> None:
  """Writes a file so that readers see the old content or the new, never a part."""
  temporary = path + ".tmp"
  with tf.io.gfile.GFile(temporary, "w") as file:
    file.write(text)
  tf.io.gfile.rename(temporary, path, overwrite=True)


def _write_manifest(path: str, manifest: dict) -> None:
  _replace_file(_manifest_path(path), json.dumps(manifest, indent=2))


def _write_state(model_dir: str, names: Sequence[str]) -> None:
  """Lists checkpoints, oldest first, for TensorFlow's own tools, such as
  `tf.train.latest_checkpoint`: a `CheckpointState` proto as text."""
  lines = [f'model_checkpoint_path: "{names[-1]}"']
  lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
  _replace_file(os.path.join(model_dir, "checkpoint"), "\n".join(lines) + "\n")


def is_final(path: str) -> bool:
  """Whether training ended with this checkpoint."""
  return bool(read_manifest(path).get("final"))


def mark(path: str, final: bool) -> None:
  """Notes that training ended with a checkpoint, or goes on from it after all."""
  manifest = read_manifest(path)
  if manifest.get("final") != final:
    _write_manifest(path, {**manifest, "final": final})


def read_manifest(path: str) -> dict:
  """The manifest of a checkpoint.

  Raises:
    ValueError: it is not readable as one, or from a newer version.
  """
  name = _manifest_path(path)
  with tf.io.gfile.GFile(name) as file:
    try:
      manifest = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
      raise ValueError(f"{name}: damaged manifest ({error})") from None
  if not isinstance(manifest, dict):
    raise ValueError(f"{name}: damaged manifest (no JSON object)")
  version = manifest.get("format_version")
  if version != FORMAT_VERSION:
    raise ValueError(
      f"{name}: got format version {version}, this program reads {FORMAT_VERSION}"
    )
  for key, kind in _MANIFEST_FIELDS.items():
    if not isinstance(manifest.get(key), kind):
      raise ValueError(f"{name}: damaged manifest ({key} is {manifest.get(key)!r})")
  return manifest


class Checkpointer:
  """Saves and restores the default graph's variables and tables.

  Args:
    embedding: the tables.
    max_to_keep: older checkpoints are removed when a new one is complete.
  """

  def __init__(self, embedding: ShardedEmbedding, max_to_keep: int = 10):
    self._max_to_keep = max_to_keep
    self._saver = tf.compat.v1.train.Saver(
      max_to_keep=None, save_relative_paths=True, sharded=True
    )
    self._tables = embedding.plan.tables
    sets = embedding.table_sets()
    ops = loader.ops()
    self._file = tf.compat.v1.placeholder(tf.string, [])
    self._files = tf.compat.v1.placeholder(tf.string, [None])
    self._save, self._restore, self._clear, self._stats = [], [], [], []
    for i, (server, handle) in enumerate(sets):
      with tf.device(server):
        name = tf.strings.join([self._file, f"part-{i:05d}-of-{len(sets):05d}"])
        self._save.append(ops.monolith_save_tables(handle, name))
        self._restore.append(
          ops.monolith_restore_tables(
            handle, self._files, shard_index=i, num_shards=len(sets)
          )
        )
        self._clear.append(ops.monolith_table_clear(handle))
        self._stats.append(ops.monolith_table_stats(handle))

  def table_stats(self, session: tf.compat.v1.Session) -> dict[str, tuple[int, int]]:
    """Rows and bytes of every table, all servers together."""
    stats = session.run(self._stats)
    return {
      table.name: (
        sum(int(sizes[i]) for sizes, _ in stats),
        sum(int(memory[i]) for _, memory in stats),
      )
      for i, table in enumerate(self._tables)
    }

  def clear_tables(self, session: tf.compat.v1.Session) -> None:
    session.run(self._clear)

  def save(
    self,
    session: tf.compat.v1.Session,
    model_dir: str,
    step: int,
    final: bool = False,
  ) -> str:
    """Saves a checkpoint and removes those beyond `max_to_keep`.

    Args:
      model_dir: the folder.
      step: the global step, for its name.
      final: whether training ends with it.

    Returns:
      Its path, without suffix.
    """
    path = os.path.join(model_dir, f"{_PREFIX}{step}")
    folder = _tables_dir(path)
    tf.io.gfile.makedirs(folder)
    if tf.io.gfile.exists(_manifest_path(path)):
      tf.io.gfile.remove(_manifest_path(path))
    rows = session.run(self._save, {self._file: folder + "/"})
    self._saver.save(session, path, write_meta_graph=False, write_state=False)
    manifest = {
      "format_version": FORMAT_VERSION,
      "global_step": step,
      "saved_at": int(time.time()),
      "table_files": [
        f"part-{i:05d}-of-{len(self._save):05d}" for i in range(len(self._save))
      ],
      "tables": [table.name for table in self._tables],
      "rows": sum(int(n) for n in rows),
      "final": final,
    }
    _write_manifest(path, manifest)
    self._keep_newest(model_dir)
    return path

  def restore(self, session: tf.compat.v1.Session, path: str) -> None:
    """Restores tables, then dense variables.

    Raises:
      ValueError: a file is missing, damaged, from a newer version, or does not fit the
        model; the message names it.
    """
    try:
      self._restore_tables(session, path)
      self._saver.restore(session, path)
    except tf.errors.OpError as error:
      raise ValueError(
        f"checkpoint {path} cannot be restored: {error.message}"
      ) from error

  def _restore_tables(self, session: tf.compat.v1.Session, path: str) -> None:
    manifest = read_manifest(path)
    wanted = {table.name for table in self._tables}
    for name in sorted(wanted.difference(manifest["tables"])):
      logging.warning("table %s begins empty: %s does not have it", name, path)
    rows = sum(
      int(n) for n in session.run(self._restore, {self._files: table_files(path)})
    )
    if wanted.issuperset(manifest["tables"]) and rows != manifest["rows"]:
      raise ValueError(
        f"checkpoint {path}: its files have {rows} rows, its manifest says "
        f"{manifest['rows']}"
      )

  def warm_start(self, session: tf.compat.v1.Session, path: str) -> None:
    """Takes what matches from another model's checkpoint: tables by name, dense
    variables by name and shape; the global step stays as it is."""
    self._restore_tables(session, path)
    reader = tf.train.load_checkpoint(path)
    shapes = reader.get_variable_to_shape_map()
    step = tf.compat.v1.train.get_global_step()
    taken = 0
    for variable in tf.compat.v1.global_variables():
      name = variable.op.name
      if variable is step or shapes.get(name) != variable.shape.as_list():
        continue
      _, value = variable.initializer.inputs
      session.run(variable.initializer, {value: reader.get_tensor(name)})
      taken += 1
    logging.info("warm start from %s: %d dense variables and the tables", path, taken)

  def _keep_newest(self, model_dir: str) -> None:
    paths = checkpoints(model_dir)
    kept = paths[-self._max_to_keep :]
    _write_state(model_dir, [os.path.basename(p) for p in kept])
    for path in paths[: -self._max_to_keep]:
      # The manifest first: what is half removed is no checkpoint any more.
      tf.io.gfile.remove(_manifest_path(path))
      tf.io.gfile.rmtree(_tables_dir(path))
      for name in tf.io.gfile.glob(f"{path}.index") + tf.io.gfile.glob(
        f"{path}.data-*"
      ):
        tf.io.gfile.remove(name)


def table_files(path: str) -> Sequence[str]:
  """The files of rows of a checkpoint."""
  return [
    os.path.join(_tables_dir(path), name) for name in read_manifest(path)["table_files"]
  ]
