"""Sparse features: which ids an example has, and how their embeddings are pooled."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from monolith.native_training.number_checks import is_finite, is_whole


@dataclasses.dataclass(frozen=True, eq=False)
class Combiner:
  """Turns the embeddings of an example's ids into one tensor.

  A combiner of one's own overrides `combine`; the built-in ones are computed by
  the pooling op, whose name for them is `kind`.
  """

  kind = "none"
  length = 0

  def combine(self, embeddings: tf.RaggedTensor) -> tf.Tensor:
    """Pools the embeddings of every example.

    Args:
      embeddings: float32 `[batch, (ids), dim]`, one row an id, in the ids' order.

    Returns:
      A float32 tensor whose first dimension is `batch`; gradients flow through it.
    """
    raise NotImplementedError(f"{type(self).__name__} has no `combine`")


@dataclasses.dataclass(frozen=True)
class ReduceSum(Combiner):
  """The sum, zeros for an example without ids: `[batch, dim]`."""

  kind = "sum"


@dataclasses.dataclass(frozen=True)
class ReduceMean(Combiner):
  """The mean, zeros for an example without ids: `[batch, dim]`."""

  kind = "mean"


@dataclasses.dataclass(frozen=True)
class FirstN(Combiner):
  """The first `length` ids in order, padded with zeros: `[batch, length, dim]`."""

  length: int

  kind = "first_n"

  def __post_init__(self):
    if not is_whole(self.length) or self.length < 1:
      raise ValueError(
        f"FirstN.length: got {self.length!r}, wanted a whole number, at least 1"
      )


def make_combiner(
  feature_name: str, combiner: str | Combiner | None, max_seq_length: int
) -> Combiner:
  """The combiner a feature asked for.

  Args:
    feature_name: for error messages.
    combiner: `'reduce_sum'`, `'reduce_mean'`, `'first_n'`, an object, or `None`:
      first_n where `max_seq_length > 0`, otherwise the sum.
    max_seq_length: how many ids `first_n` keeps; nothing else reads it.

  Raises:
    ValueError: the combiner is unknown or lacks its length.
  """
  if not is_whole(max_seq_length) or max_seq_length < 0:
    raise ValueError(
      f"feature {feature_name!r}: got max_seq_length {max_seq_length!r}, wanted a "
      "whole number, 0 or more"
    )
  if isinstance(combiner, Combiner):
    return combiner
  if combiner is None:
    combiner = "first_n" if max_seq_length > 0 else "reduce_sum"
  if combiner == "reduce_sum":
    return ReduceSum()
  if combiner == "reduce_mean":
    return ReduceMean()
  if combiner == "first_n":
    if max_seq_length < 1:
      raise ValueError(
        f"feature {feature_name!r}: combiner 'first_n' wants max_seq_length > 0, "
        f"got {max_seq_length}"
      )
    return FirstN(int(max_seq_length))
  raise ValueError(
    f"feature {feature_name!r}: got combiner {combiner!r}, wanted 'reduce_sum', "
    "'reduce_mean', 'first_n' or a feature.Combiner"
  )


@dataclasses.dataclass(frozen=True)
class FeatureColumn:
  """A feature whose ids have embeddings.

  Attributes:
    name: key of the feature in what `input_fn` yields.
    table: name of its table; features with the same one share rows.
    combiner: how the embeddings of an example's ids are pooled.
    occurrence_threshold: how often an id must occur before it gets a row.
    expire_time: days without an update after which a row is evicted.
  """

  name: str
  table: str
  combiner: Combiner
  occurrence_threshold: int
  expire_time: float

  def __post_init__(self):
    check_row_rules(
      f"feature {self.name!r}", self.occurrence_threshold, self.expire_time
    )


def check_row_rules(where: str, occurrence_threshold: int, expire_time: float) -> None:
  """Checks when an id gets a row and when it loses it.

  Raises:
    ValueError: naming `where`, the setting that is out of range.
  """
  if not is_whole(occurrence_threshold) or not 0 <= occurrence_threshold <= 65535:
    raise ValueError(
      f"{where}: got occurrence_threshold {occurrence_threshold!r}, wanted a whole "
      "number, 0 to 65535"
    )
  if not is_finite(expire_time) or expire_time <= 0:
    raise ValueError(
      f"{where}: got expire_time {expire_time!r}, wanted a finite number of days, more "
      "than 0"
    )


def ids_of(name: str, features: Mapping[str, object]) -> tf.RaggedTensor:
  """The ids of a feature as one ragged tensor.

  Args:
    name: the feature.
    features: what `input_fn` yields for a batch. Ids are int64, as a `RaggedTensor`
      `[batch, (ids)]`, a `SparseTensor` `[batch, n]` whose rows are in order, or a
      tensor `[batch, n]` or `[batch]`. Of a `SparseTensor` the ids of a row count in
      the order in which they are stored, whatever their columns.

  Returns:
    int64 `RaggedTensor` `[batch, (ids)]` with int64 row splits.

  Raises:
    ValueError: the feature is missing, or its ids have another dtype or rank.
  """
  if name not in features:
    raise ValueError(
      f"feature {name!r} is not in the data; input_fn yields "
      f"{', '.join(sorted(features)) or 'nothing'}"
    )
  ids = features[name]
  if isinstance(ids, tf.SparseTensor):
    if ids.dtype == tf.int64 and ids.shape.rank == 2:
      ids = tf.RaggedTensor.from_value_rowids(
        ids.values, ids.indices[:, 0], nrows=ids.dense_shape[0]
      )
  elif not isinstance(ids, tf.RaggedTensor):
    ids = tf.convert_to_tensor(ids)
    rank = ids.shape.rank
    if rank == 1 and ids.dtype == tf.int64:
      ids = tf.expand_dims(ids, axis=1)
    if ids.dtype == tf.int64 and rank in (1, 2):
      ids = tf.RaggedTensor.from_tensor(ids)
  if not isinstance(ids, tf.RaggedTensor) or ids.dtype != tf.int64:
    raise ValueError(
      f"feature {name!r}: got {ids.dtype.name} of shape {ids.shape}, wanted int64 ids "
      "[batch, (ids)]. Strings become ids with tf.strings.to_hash_bucket_fast"
    )
  if ids.ragged_rank != 1 or ids.values.shape.rank != 1:
    raise ValueError(
      f"feature {name!r}: got ids of shape {ids.shape}, wanted [batch, (ids)]"
    )
  return ids.with_row_splits_dtype(tf.int64)
