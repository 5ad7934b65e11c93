"""What restoring tables can fail of."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from monolith.native_training.embedding.plan import EmbeddingPlan
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training.checkpoints import checkpoint_errors
from monolith.native_training.training.checkpoints.checkpoint_errors import MisfitError


def features_of_tables(plan: EmbeddingPlan) -> dict[str, list[str]]:
  """The names of the features that share each table."""
  features = {}
  for output in plan.outputs:
    of_table = features.setdefault(output.table, [])
    if output.feature not in of_table:
      of_table.append(output.feature)
  return features


def refusal(
  path: str,
  error: tf.errors.OpError,
  features: Mapping[str, Sequence[str]],
  use: str = "restored",
) -> Exception:
  """What to raise where an op could not restore a checkpoint's tables.

  Args:
    features: those of each table, for whom its name says nothing.
    use: what the tables could not be.
  """
  sentence = core_errors.sentence_of(error)
  message = f"checkpoint {path} cannot be {use}: {sentence}"
  if not isinstance(error, tf.errors.InvalidArgumentError):
    return checkpoint_errors.of_reading(error, message)
  for table, names in features.items():
    misfits = (f" of table {table} has dim ", f"table {table} is in the model, but ")
    if list(names) != [table] and any(misfit in sentence for misfit in misfits):
      message += f"; table {table} is that of the features {', '.join(names)}"
  return MisfitError(message)
