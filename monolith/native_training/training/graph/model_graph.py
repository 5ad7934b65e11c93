"""A model as a graph: its input, what `model_fn` made of it, and its tables."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from monolith.native_training.data.kafka import process_streams
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.graph import heads, layer_updates, stream_input
from monolith.native_training.training.processes.cluster import Cluster


@dataclasses.dataclass
class ModelGraph:
  """A model built into the default graph.

  Attributes:
    features: the batch it reads.
    spec: what `model_fn` returned.
    embedding: its tables.
    extra_outputs: what `add_extra_output` was called with.
  """

  features: dict[str, Any]
  spec: heads.EstimatorSpec
  embedding: ShardedEmbedding
  extra_outputs: dict[str, dict[str, tf.Tensor]]

  def batch_size(self) -> tf.Tensor:
    """Examples of the batch: int64 scalar."""
    return _rows(self.features)


class _Features(dict):
  """The features given to `model_fn`; says which there are when one is missing."""

  def __missing__(self, name: str):
    raise ValueError(
      f"model_fn reads feature {name!r}, but there is only {', '.join(sorted(self))}. "
      "A model that is served has no labels: return before they are read when mode is "
      "PREDICT, or let serving_input_receiver_fn provide them"
    )


def _rows(features: dict[str, Any]) -> tf.Tensor:
  """Examples of a batch: int64 scalar."""
  tensor = next(iter(features.values()))
  if isinstance(tensor, tf.RaggedTensor):
    return tf.cast(tensor.nrows(), tf.int64)
  if isinstance(tensor, tf.SparseTensor):
    return tensor.dense_shape[0]
  if not tensor.shape.rank:
    return tf.constant(1, tf.int64)
  return tf.shape(tensor, out_type=tf.int64)[0]


@dataclasses.dataclass
class Input:
  """A model's data as the next batch of them.

  Attributes:
    features: of the batch.
    initializer: op that begins the data anew; sessions run it when they begin.
    streams: what a job that trains reads the data from, where they are no files.
    marks: what a batch of streams says of itself.
    may_end_early: see `StreamBatches`.
  """

  features: dict[str, Any]
  initializer: tf.Operation
  streams: Sequence[KafkaStream] = ()
  marks: stream_input.StreamMarks | None = None
  may_end_early: bool = False


def read_batch(
  model: MonolithModel, mode: str, cluster: Cluster, skip: tf.Tensor | None = None
) -> Input:
  """The next batch of the model's data that has examples, in the default graph.

  Args:
    skip: int64 scalar, for a job that trains: data of files begin behind so many
      batches.

  Raises:
    TypeError: `input_fn` returned no dataset of dicts.
    ValueError: it reads streams, and does not say which messages it has, or in another
      order.
  """
  with cluster.input_environment(), process_streams.collected() as streams:
    dataset = model.input_fn(mode)
  if not isinstance(dataset, tf.data.Dataset):
    raise TypeError(
      f"input_fn returned {type(dataset).__name__}, wanted a batched tf.data.Dataset"
    )
  if not isinstance(dataset.element_spec, dict) or not dataset.element_spec:
    raise TypeError(
      f"input_fn returned a dataset of {dataset.element_spec}, wanted dicts of name to "
      "tensor"
    )
  # Such as of bad messages only: their mean loss would be no number.
  dataset = dataset.filter(lambda features: _rows(features) > 0)
  streams = streams if skip is not None else []
  if streams:
    batches = stream_input.prepare(dataset, len(streams))
    dataset = batches.dataset
  elif skip is not None:
    dataset = dataset.skip(skip)
  iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
  tf.compat.v1.add_to_collection(
    tf.compat.v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer
  )
  features = iterator.get_next()
  if not streams:
    return Input(features, iterator.initializer)
  features, marks = stream_input.split(features)
  return Input(features, iterator.initializer, streams, marks, batches.may_end_early)


def build(
  model: MonolithModel,
  features: dict[str, Any],
  mode: str,
  servers=(None,),
  tables_name: str = "",
  admission_capacity: int = plan.DEFAULT_ADMISSION_CAPACITY,
  exported: bool = False,
) -> ModelGraph:
  """Builds the model over a batch.

  Args:
    features: what `model_fn` gets.
    servers: the devices of the servers that hold the tables.
    tables_name: name of the tables on their servers; `''` is the model's name.
    admission_capacity: see `RunnerConfig`; only training counts occurrences.
    exported: see `ShardedEmbedding`.
  """
  with layer_updates.collected():
    result, embedding = model.build(
      _Features(features),
      mode,
      servers=servers,
      shared_name=f"tables/{tables_name or model.p.name}",
      missing="initial" if mode == tf.estimator.ModeKeys.TRAIN else "zero",
      admission_capacity=admission_capacity,
      exported=exported,
    )
  return ModelGraph(
    features, heads.as_spec(result), embedding, dict(model.extra_outputs)
  )
