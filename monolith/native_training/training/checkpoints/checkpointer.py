"""Saving the variables and tables of a graph as a checkpoint, and restoring them."""

import os
import time
import uuid
from collections.abc import Callable, Collection

import tensorflow as tf
from absl import logging

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.progress_log import progress_log
from monolith.native_training.runtime.ops import core_errors, loader
from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_leftovers,
  manifest,
  storage,
  table_restore,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
  StorageError,
)
from monolith.native_training.training.checkpoints.dense_variables import DenseVariables
from monolith.native_training.training.checkpoints.increments import Increments
from monolith.native_training.training.checkpoints.kept_checkpoints import (
  KeptCheckpoints,
)
from monolith.native_training.training.processes.server_question import (
  SERVER_IS_AWAY,
  ServerQuestion,
)

# That each server writes beside each other, and as many threads.
_FILES_PER_SERVER = 2
# For so long servers are asked to hurry; a save goes on without that.
_HURRY_TIMEOUT_MS = 5000


class Checkpointer:
  """Saves and restores the default graph's variables and tables.

  Saving may go on in one thread while another trains; two saves may not.

  Args:
    embedding: the tables.
    max_to_keep: older checkpoints are removed when a new one is complete, but for those
      that `retention.needed` names.
    for_training: whether `restore` takes how often ids without a row have occurred,
      and lets slices that a checkpoint lacks, and dense variables that it lacks or has
      in another shape or dtype, begin with their initial values, and objects that it
      lacks begin anew. Who only predicts is refused such a checkpoint.
    max_increments: how many checkpoints in a row may have only the rows that have
      changed since the one before; see `RunnerConfig.checkpoint_increments`.
    in_use: see `KeptCheckpoints`.
  """

  def __init__(
    self,
    embedding: ShardedEmbedding,
    max_to_keep: int = 10,
    for_training: bool = True,
    max_increments: int = 0,
    in_use: Callable[[], Collection[str]] = lambda: (),
  ):
    self._kept = KeptCheckpoints(max_to_keep, in_use)
    self._increments = Increments(max_increments)
    self._for_training = for_training
    self._tables = embedding.plan.tables
    self._features = table_restore.features_of_tables(embedding.plan)
    sets = embedding.table_sets()
    variables = tf.compat.v1.global_variables()
    self._servers = ServerQuestion(
      [*(server for server, _ in sets), *(v.device for v in variables)]
    )
    self._dense = DenseVariables(self._servers)
    ops = loader.ops()
    self._folder = tf.compat.v1.placeholder(tf.string, [])
    self._files = tf.compat.v1.placeholder(tf.string, [None])
    self._save_ids = tf.compat.v1.placeholder(tf.string, [None])
    self._save_id = tf.compat.v1.placeholder(tf.string, [])
    self._base_save_id = tf.compat.v1.placeholder(tf.string, [])
    self._urgent = tf.compat.v1.placeholder(tf.bool, [])
    self._hurry = []
    self._save, self._restore, self._clear, self._stats = [], [], [], []
    self._restore_matching, self._names = [], []
    for i, (server, handle) in enumerate(sets):
      name = f"rows-{i:05d}-of-{len(sets):05d}"
      self._names += [
        f"{name}-{k}-of-{_FILES_PER_SERVER}" for k in range(_FILES_PER_SERVER)
      ]
      with tf.device(server):
        shard = {"shard_index": i, "num_shards": len(sets)}
        self._save.append(
          ops.monolith_save_tables(
            handle,
            tf.strings.join([self._folder, name]),
            **shard,
            save_id=self._save_id,
            base_save_id=self._base_save_id,
            urgent=self._urgent,
            num_files=_FILES_PER_SERVER,
          )
        )
        for restores, must_fit in (
          (self._restore, "shared_segments" if for_training else "every_segment"),
          (self._restore_matching, "nothing"),
        ):
          restores.append(
            ops.monolith_restore_tables(
              handle,
              self._files,
              save_ids=self._save_ids,
              **shard,
              with_trials=for_training,
              must_fit=must_fit,
            )
          )
        self._hurry.append(ops.monolith_hurry_saves(handle))
        self._clear.append(ops.monolith_table_clear(handle))
        self._stats.append(ops.monolith_table_stats(handle))

  def refused(self, paths: Collection[str]) -> None:
    """Notes checkpoints that were refused when training began, and could not be set
    aside: the only newer ones than what is saved that may be there."""
    self._kept.refused(paths)

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

  def hurry(self, session: tf.compat.v1.Session) -> None:
    """Makes a save that is running urgent.

    Raises:
      tf.errors.OpError: a server is away.
    """
    options = tf.compat.v1.RunOptions(timeout_in_ms=_HURRY_TIMEOUT_MS)
    session.run(self._hurry, options=options)

  def save(
    self,
    session: tf.compat.v1.Session,
    model_dir: str,
    step: int,
    check: Callable[[], object] = lambda: None,
    all_rows: bool = False,
    is_urgent: Callable[[], bool] = lambda: False,
  ) -> str:
    """Saves a checkpoint and removes those beyond `max_to_keep`.

    Args:
      model_dir: the folder.
      step: the global step, for its name. While a server saves, others train: what is
        saved may have seen some steps more.
      check: called when nothing but the manifest is missing, and before anything older
        is removed; what it raises ends the save.
      all_rows: whether all rows are saved, whatever was saved before.
      is_urgent: whether servers write as fast as they can, even if that slows training
        down. Asked when they begin; `hurry` is for later.

    Returns:
      Its path, without suffix.

    Raises:
      tf.errors.AbortedError, tf.errors.UnavailableError: a server is away.
      StorageError: storage says the like, and every server is there.
      OtherSaverError: another process saves in the same folder.
      Exception: else as storage and servers raise it.
    """
    if all_rows:
      self._increments.forget()
    try:
      path = self._save_new(session, model_dir, step, check, is_urgent)
    except SERVER_IS_AWAY as error:
      if self._servers.is_away(session, error):
        raise
      raise StorageError(
        f"{type(error).__name__} of storage, because every parameter server is there: "
        f"{error.message}"
      ) from None
    except tf.errors.OutOfRangeError as error:
      # Of a file that grows too large. Who trains would take it for the data's end.
      raise StorageError(error.message) from None
    self._increments.saved_as(os.path.basename(path))
    self.remove_older(path, check)
    return path

  def remove_older(self, path: str, check: Callable[[], object] = lambda: None) -> None:
    """Removes what is beyond `max_to_keep` and not in use any more. What cannot be
    removed is left, which the log says.

    Args:
      path: of the newest that was saved.
      check: see `save`.
    """
    try:
      self._kept.saved(path, check)
    except (OSError, tf.errors.OpError) as error:
      logging.error(
        "checkpoint %s is saved, but older ones could not be removed, or the list of "
        "those that are kept not be written; the next save tries again: %s",
        path,
        error,
      )

  def _save_new(
    self,
    session: tf.compat.v1.Session,
    model_dir: str,
    step: int,
    check: Callable[[], object],
    is_urgent: Callable[[], bool],
  ) -> str:
    path = checkpoint.next_path(model_dir, step)
    self._kept.check_alone(path)
    self._check_base(model_dir)
    try:
      self._write(session, path, step, check, is_urgent)
    except BaseException:
      self._increments.forget()
      checkpoint_leftovers.remove_incomplete(path)
      raise
    return path

  def _write(
    self,
    session: tf.compat.v1.Session,
    path: str,
    step: int,
    check: Callable[[], object],
    is_urgent: Callable[[], bool],
  ) -> None:
    """Writes a checkpoint where none is."""
    checkpoint.remove(path)  # What a save that was killed has left.
    folder = checkpoint.tables_dir(path)
    tf.io.gfile.makedirs(folder)
    content = manifest.Manifest(
      global_step=step,
      save_id=uuid.uuid4().hex,
      table_files=self._names,
      tables=[table.name for table in self._tables],
      rows=0,
      saved_at=int(time.time()),
    )
    content.base, content.base_save_id = self._increments.base()
    # Before the rows: among them is how far the data were trained on, and a batch that
    # counts must be in the rows. One that does not is trained on again.
    self._dense.save(session, path)
    self._save_tables(session, folder, content, is_urgent)
    for name in checkpoint.dense_files(path):
      storage.flush_to_storage(name)
      content.dense_files[name[len(path) :]] = manifest.digest(name)
    for name in content.table_files:
      if not tf.io.gfile.exists(os.path.join(folder, name)):
        raise RuntimeError(
          f"{os.path.join(folder, name)}: a parameter server has written it, but it "
          "cannot be seen here. model_dir must be a folder that all processes share"
        )
    # The names of what the manifest is to make a checkpoint.
    for names_in in (folder, os.path.dirname(path)):
      storage.flush_to_storage(names_in)
    check()
    checkpoint.write_manifest(path, content)
    self._increments.wrote(content)

  def _check_base(self, model_dir: str) -> None:
    """Has all rows saved where somebody has removed or damaged what the next increment
    would be made from."""
    base, _ = self._increments.base()
    if not base:
      return
    path = os.path.join(model_dir, base)
    try:
      checkpoint.chain(path)
      is_there = checkpoint.is_complete(path)
    except DamagedCheckpointError:
      is_there = False
    if not is_there:
      logging.warning("%s is not whole any more: saving all rows", path)
      self._increments.forget()

  def _save_tables(
    self,
    session: tf.compat.v1.Session,
    folder: str,
    content: manifest.Manifest,
    is_urgent: Callable[[], bool],
  ) -> None:
    """Lets the servers write their rows; notes how many in the manifest."""

    def run() -> list:
      feed = {
        self._folder: folder + "/",
        self._save_id: content.save_id,
        self._base_save_id: content.base_save_id,
        self._urgent: is_urgent(),
      }
      return session.run(self._save, feed)

    with core_errors.told_plainly():
      try:
        saved = run()
      except tf.errors.FailedPreconditionError as error:
        if not content.base:
          raise
        # A server has been restored, or a save has failed, since the base.
        logging.info("saving all rows: %s", error.message)
        content.base = content.base_save_id = ""
        saved = run()
    content.rows = sum(int(each.rows) for each in saved)
    content.erased = sum(int(each.erased) for each in saved)

  def restore(self, session: tf.compat.v1.Session, path: str) -> None:
    """Restores tables, then dense variables.

    Raises:
      DamagedCheckpointError: a file is missing, damaged or from a newer version; the
        message names it.
      MisfitError: it does not fit the model; the message names the slice and its
        features, or the variable or object, or the tables of which the model has none.
      StorageError: a file cannot be read.
    """
    checkpoint.check_dense_files(path)
    self._increments.forget()
    self._restore_tables(session, path, self._restore, goes_on=self._for_training)
    self._dense.restore(session, path, may_begin_anew=self._for_training)

  def _restore_tables(
    self,
    session: tf.compat.v1.Session,
    path: str,
    restores: list[tf.Tensor],
    goes_on: bool = False,
  ) -> None:
    """Restores tables.

    Args:
      goes_on: whether training goes on from there: the next checkpoints will lack what
        the model does not have.
    """
    chain = checkpoint.read_chain(path)
    saved = sum(content.rows for content in chain.values())
    wanted = {table.name for table in self._tables}
    there = {name for content in chain.values() for name in content.tables}
    lost = ", ".join(sorted(there - wanted))
    if goes_on and lost and saved and not wanted:
      raise MisfitError(
        f"checkpoint {path} cannot be restored: it has rows of {lost}, up to {saved}, "
        "but the model has no tables, and would lose them. warm_start_from in another "
        "model_dir takes its dense variables alone"
      )
    for name in sorted(wanted.difference(chain[path].tables)):
      if not self._for_training:
        features = ", ".join(self._features.get(name, [name]))
        raise MisfitError(
          f"checkpoint {path} cannot be restored: it has no table {name}, of the "
          f"features {features}. The model has gained it since: train before"
        )
      logging.warning("table %s begins empty: %s does not have it", name, path)
    files = checkpoint.files_of_rows(chain)
    feed = {self._files: files, self._save_ids: checkpoint.saves_of_rows(chain)}
    try:
      if not files:  # Of a model that had no tables: what they have came later.
        self.clear_tables(session)
      restored = session.run(restores, feed) if files else []
    except tf.errors.OpError as error:
      if self._servers.is_away(session, error):
        raise  # What is made of that is the session's matter.
      raise table_restore.refusal(path, error, self._features) from None
    for warning in sorted({w.decode() for each in restored for w in each.warnings}):
      logging.warning("checkpoint %s: %s", path, warning)
    rows = sum(int(each.rows) for each in restored)
    if goes_on and lost and saved > rows:
      # An increment may have some of them again.
      logging.warning(
        "checkpoint %s: up to %d rows are left out, of tables that are not in the "
        "model: %s",
        path,
        saved - rows,
        lost,
      )
    if not lost and rows != saved:
      raise DamagedCheckpointError(
        f"checkpoint {path}: its files have {rows} rows, its manifest says {saved}"
      )

  def warm_start(self, session: tf.compat.v1.Session, path: str) -> None:
    """Takes what matches from another model's checkpoint: tables by name, dense
    variables by name, shape and dtype; the global step stays as it is."""
    checkpoint.check_dense_files(path)
    self._restore_tables(session, path, self._restore_matching)
    taken = self._dense.take_matching(session, path)
    progress_log.info(
      "warm start from %s: %d dense variables and the tables", path, taken
    )
