"""The tables of an exported model: files beside it, read when it is loaded.

`runtime/compact_table/README.md` describes the files.
"""

import os
from collections.abc import Sequence

import tensorflow as tf

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training import checkpoint as checkpoint_lib
from monolith.native_training.training import table_restore
from monolith.native_training.training.checkpoint_errors import DamagedCheckpointError


class TableAssets:
  """The files of one model's tables.

  Args:
    embedding: the tables, one set of them.
    folder: where the files go.
  """

  def __init__(self, embedding: ShardedEmbedding, folder: str):
    self._handles = [handle for _, handle in embedding.table_sets()]
    self._features = table_restore.features_of_tables(embedding.plan)
    self._config = embedding.plan.config() if self._handles else ""
    count = len(embedding.plan.tables) if self._handles else 0
    self._folder = folder
    self._files = [
      os.path.join(folder, f"table-{i:05d}-of-{count:05d}.compact")
      for i in range(count)
    ]

  def write(self, checkpoint: str) -> None:
    """Writes a checkpoint's rows, compressed and without optimizer state.

    All of the checkpoint's files of rows are read and checked.

    Raises:
      DamagedCheckpointError: a file is missing or damaged.
      MisfitError: they do not fit the tables.
      StorageError: a file cannot be read or written.
    """
    files = checkpoint_lib.table_files(checkpoint)
    if not self._files:
      return
    tf.io.gfile.makedirs(self._folder)
    rows = self._write(checkpoint, files)
    saved = sum(
      checkpoint_lib.read_manifest(each).rows
      for each in checkpoint_lib.chain(checkpoint)
    )
    if rows != saved:
      raise DamagedCheckpointError(
        f"checkpoint {checkpoint}: its files have {rows} rows, its manifest says "
        f"{saved}"
      )

  def _write(self, checkpoint: str, files: Sequence[str]) -> int:
    with tf.Graph().as_default() as graph:
      exported = loader.ops().monolith_export_tables(
        tf.constant(files, tf.string, [len(files)]), self._files, config=self._config
      )
      try:
        with tf.compat.v1.Session(graph=graph) as session:
          return int(session.run(exported.rows_read))
      except tf.errors.OpError as error:
        raise table_restore.refusal(checkpoint, error, self._features) from None

  def add_to_graph(self) -> tf.Operation:
    """Registers the files as assets of the default graph; the op that loads them."""
    assets = []
    for file in self._files:
      assets.append(tf.constant(file))
      tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS, assets[-1])
    loads = [
      loader.ops().monolith_load_compact_tables(handle, tf.stack(assets))
      for handle in self._handles
    ]
    return tf.group(*loads)
