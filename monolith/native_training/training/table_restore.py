"""What restoring tables can fail of, and checking that it would not."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from monolith.native_training.embedding.plan import EmbeddingPlan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import core_errors, loader
from monolith.native_training.training import checkpoint, checkpoint_errors
from monolith.native_training.training.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
)


def features_of_tables(plan: EmbeddingPlan) -> dict[str, list[str]]:
  """The names of the features that share each table."""
  features = {}
  for output in plan.outputs:
    of_table = features.setdefault(output.table, [])
    if output.feature not in of_table:
      of_table.append(output.feature)
  return features


def refusal(
  path: str, error: tf.errors.OpError, features: Mapping[str, Sequence[str]]
) -> Exception:
  """What to raise where an op could not restore a checkpoint's tables.

  Args:
    features: those of each table, for whom its name says nothing.
  """
  sentence = core_errors.sentence_of(error)
  message = f"checkpoint {path} cannot be restored: {sentence}"
  if not isinstance(error, tf.errors.InvalidArgumentError):
    return checkpoint_errors.of_reading(error, message)
  for table, names in features.items():
    if f"of table {table} has dim" in sentence and list(names) != [table]:
      message += f"; table {table} is that of the features {', '.join(names)}"
  return MisfitError(message)


class TableCheck:
  """Reads the files of a checkpoint's tables, and keeps nothing of them: each record
  against its checksum, each row as restoring would.

  Args:
    embedding: the tables that they are to fit.
  """

  def __init__(self, embedding: ShardedEmbedding):
    self._features = features_of_tables(embedding.plan)
    self._config = embedding.plan.config() if embedding.plan.tables else None

  def check(self, path: str) -> None:
    """Checks a checkpoint and those that it is made from.

    Raises:
      DamagedCheckpointError: a file is missing or damaged.
      MisfitError: they do not fit the tables.
      StorageError: a file cannot be read.
    """
    files = checkpoint.table_files(path)
    if self._config is None or not files:
      return
    with tf.Graph().as_default() as graph:
      ops = loader.ops()
      handle = ops.monolith_table_set(config=self._config, shared_name="check")
      checked = ops.monolith_restore_tables(
        handle, files, shard_index=0, num_shards=1, only_check=True
      )
      try:
        with tf.compat.v1.Session(graph=graph) as session:
          rows = int(session.run(checked.rows))
      except tf.errors.OpError as error:
        raise refusal(path, error, self._features) from None
    saved = sum(checkpoint.read_manifest(each).rows for each in checkpoint.chain(path))
    if rows != saved:
      raise DamagedCheckpointError(
        f"checkpoint {path}: its files have {rows} rows, its manifest says {saved}"
      )
