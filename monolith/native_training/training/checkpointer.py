"""Saving the variables and tables of a graph as a checkpoint, and restoring them."""

import os
import time

import tensorflow as tf
from absl import logging

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import core_errors, loader
from monolith.native_training.training import checkpoint, progress_log
from monolith.native_training.training.dense_variables import DenseVariables

_SUCCESSOR = ".new"  # Behind the path of a checkpoint that replaces a complete one.


class Checkpointer:
  """Saves and restores the default graph's variables and tables.

  Args:
    embedding: the tables.
    max_to_keep: older checkpoints are removed when a new one is complete.
    with_trials: whether `restore` and `warm_start` take how often ids without a row
      have occurred, which only training needs.
  """

  def __init__(
    self,
    embedding: ShardedEmbedding,
    max_to_keep: int = 10,
    with_trials: bool = True,
  ):
    self._max_to_keep = max_to_keep
    self._dense = DenseVariables()
    self._tables = embedding.plan.tables
    sets = embedding.table_sets()
    ops = loader.ops()
    self._file = tf.compat.v1.placeholder(tf.string, [])
    self._files = tf.compat.v1.placeholder(tf.string, [None])
    self._save, self._restore, self._clear, self._stats = [], [], [], []
    for i, (server, handle) in enumerate(sets):
      with tf.device(server):
        name = tf.strings.join([self._file, f"part-{i:05d}-of-{len(sets):05d}"])
        shard = {"shard_index": i, "num_shards": len(sets)}
        self._save.append(ops.monolith_save_tables(handle, name, **shard))
        self._restore.append(
          ops.monolith_restore_tables(
            handle, self._files, **shard, with_trials=with_trials
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
      step: the global step, for its name. While a server saves, others train: what is
        saved may have seen some steps more.
      final: whether training ends with it.

    Returns:
      Its path, without suffix.
    """
    path = checkpoint.path_of(model_dir, step)
    if checkpoint.is_complete(path):
      # What is there stays until its successor is complete.
      successor = path + _SUCCESSOR
      self._write(session, successor, step, final)
      checkpoint.remove(path)
      checkpoint.rename(successor, path)
    else:
      self._write(session, path, step, final)
    self._keep_newest(model_dir)
    return path

  def _write(
    self, session: tf.compat.v1.Session, path: str, step: int, final: bool
  ) -> None:
    """Writes a checkpoint where none is."""
    folder = checkpoint.tables_dir(path)
    tf.io.gfile.makedirs(folder)
    with core_errors.told_plainly():
      rows = session.run(self._save, {self._file: folder + "/"})
    self._dense.save(session, path)
    manifest = {
      "format_version": checkpoint.FORMAT_VERSION,
      "global_step": step,
      "saved_at": int(time.time()),
      "table_files": [
        f"part-{i:05d}-of-{len(self._save):05d}" for i in range(len(self._save))
      ],
      "tables": [table.name for table in self._tables],
      "rows": sum(int(n) for n in rows),
      "final": final,
    }
    for name in manifest["table_files"]:
      if not tf.io.gfile.exists(os.path.join(folder, name)):
        raise RuntimeError(
          f"{os.path.join(folder, name)}: a parameter server has written it, but it "
          "cannot be seen here. model_dir must be a folder that all processes share"
        )
    checkpoint.write_manifest(path, manifest)

  def restore(self, session: tf.compat.v1.Session, path: str) -> None:
    """Restores tables, then dense variables.

    Raises:
      ValueError: a file is missing, damaged, from a newer version, or does not fit the
        model; the message names it.
    """
    self._restore_tables(session, path)
    self._dense.restore(session, path)

  def _restore_tables(self, session: tf.compat.v1.Session, path: str) -> None:
    manifest = checkpoint.read_manifest(path)
    wanted = {table.name for table in self._tables}
    for name in sorted(wanted.difference(manifest["tables"])):
      logging.warning("table %s begins empty: %s does not have it", name, path)
    files = checkpoint.table_files(path)
    try:
      restored = session.run(self._restore, {self._files: files})
    except (tf.errors.AbortedError, tf.errors.UnavailableError):
      raise  # A server is away; what is made of that is the session's matter.
    except tf.errors.OpError as error:
      raise ValueError(
        f"checkpoint {path} cannot be restored: {core_errors.sentence_of(error)}"
      ) from None
    rows = sum(int(n) for n in restored)
    if wanted.issuperset(manifest["tables"]) and rows != manifest["rows"]:
      raise ValueError(
        f"checkpoint {path}: its files have {rows} rows, its manifest says "
        f"{manifest['rows']}"
      )

  def warm_start(self, session: tf.compat.v1.Session, path: str) -> None:
    """Takes what matches from another model's checkpoint: tables by name, dense
    variables by name and shape; the global step stays as it is."""
    self._restore_tables(session, path)
    taken = self._dense.take_matching(session, path)
    progress_log.info(
      "warm start from %s: %d dense variables and the tables", path, taken
    )

  def _keep_newest(self, model_dir: str) -> None:
    paths = checkpoint.checkpoints(model_dir)
    kept = paths[-self._max_to_keep :]
    checkpoint.write_state(model_dir, [os.path.basename(p) for p in kept])
    for path in paths[: -self._max_to_keep]:
      checkpoint.remove(path)
