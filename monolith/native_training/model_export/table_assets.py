"""The tables of an exported model: files beside it, read when it is loaded.

`runtime/compact_table/README.md` describes the files.
"""

import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.model_export.abandonment import Abandonment
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training.checkpoints import checkpoint as checkpoint_lib
from monolith.native_training.training.checkpoints import table_restore
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


class TableAssets:
  """The files of one model's tables.

  Args:
    embedding: the tables.
    folders: where the files go: as many parts are the ids spread over.
    abandonment: ends the writing early.
  """

  def __init__(
    self,
    embedding: ShardedEmbedding,
    folders: Sequence[str],
    abandonment: Abandonment,
  ):
    self._features = table_restore.features_of_tables(embedding.plan)
    self._tables = embedding.plan.tables
    self._config = embedding.plan.config() if self._tables else ""
    self._folders = folders
    self._abandonment = abandonment

  def _files(self, part: int) -> list[str]:
    count = len(self._tables)
    return [
      os.path.join(self._folders[part], f"table-{i:05d}-of-{count:05d}.compact")
      for i in range(count)
    ]

  def write(self, checkpoint: str) -> None:
    """Writes a checkpoint's rows, compressed and without optimizer state.

    All of the checkpoint's files of rows are read and checked.

    Raises:
      DamagedCheckpointError: a file is missing or damaged.
      MisfitError: they do not fit the tables.
      StorageError: a file cannot be read or written.
      ExportAbandonedError: that was asked for.
    """
    chain = checkpoint_lib.read_chain(checkpoint)
    if not self._tables:
      return
    for folder in self._folders:
      tf.io.gfile.makedirs(folder)
    rows = self._write(checkpoint, chain)
    saved = sum(content.rows for content in chain.values())
    if rows != saved:
      raise DamagedCheckpointError(
        f"checkpoint {checkpoint}: its files have {rows} rows, its manifest says "
        f"{saved}"
      )

  def _write(self, checkpoint: str, chain: Mapping[str, Manifest]) -> int:
    files = checkpoint_lib.files_of_rows(chain)
    save_ids = checkpoint_lib.saves_of_rows(chain)
    outputs = [name for i in range(len(self._folders)) for name in self._files(i)]
    with tf.Graph().as_default() as graph:
      exported = loader.ops().monolith_export_tables(
        tf.constant(files, tf.string, [len(files)]),
        tf.constant(save_ids, tf.string, [len(files)]),
        outputs,
        config=self._config,
        num_shards=len(self._folders),
      )
      try:
        with tf.compat.v1.Session(graph=graph) as session:
          with self._abandonment.closes(session):
            return int(session.run(exported.rows_read))
      except tf.errors.OpError as error:
        self._abandonment.check()
        raise table_restore.refusal(
          checkpoint, error, self._features, "exported"
        ) from None

  def table_set(self, name: str) -> tf.Tensor:
    """The handle of a part's tables, in the default graph."""
    return loader.ops().monolith_compact_tables(
      table_names=[table.name for table in self._tables],
      table_dims=[table.dim for table in self._tables],
      shared_name=f"tables/{name}",
    )

  def add_to_graph(self, part: int, handle: tf.Tensor | None) -> tf.Operation:
    """Registers a part's files as assets of the default graph.

    Args:
      handle: of `MonolithCompactTables`; None without tables.

    Returns:
      The op that loads the files.
    """
    if handle is None:
      return tf.no_op()
    assets = [tf.constant(file) for file in self._files(part)]
    for asset in assets:
      tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS, asset)
    return loader.ops().monolith_load_compact_tables(handle, tf.stack(assets))
