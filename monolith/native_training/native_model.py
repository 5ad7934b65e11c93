"""`MonolithModel`: what a user subclasses.

class Ranking(MonolithModel):

  def input_fn(self, mode):
    return dataset  # A batched tf.data.Dataset of dicts.

  def model_fn(self, features, mode):
    self.create_embedding_feature_column('user')
    self.create_embedding_feature_column('movie')
    user, movie = self.lookup_embedding_slice(
        features=['user', 'movie'], slice_name='vec', slice_dim=32)
    pred = dense_layers(tf.concat((user, movie), axis=1))
    loss = tf.reduce_mean(tf.square(pred - features['label']))
    return EstimatorSpec(label=features['label'], pred=pred, loss=loss,
                         optimizer=tf.compat.v1.train.AdagradOptimizer(0.05),
                         classification=False)

model = Ranking.params().instantiate()
"""

import abc
import collections
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

import monolith.native_training.tensorflow_compat  # noqa: F401
from monolith.core.hyperparams import InstantiableParams, Params
from monolith.native_training import entry, feature
from monolith.native_training.embedding.plan import LearningRate, Segment
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.number_checks import is_whole

_OUT_TYPES = ("concat", "stack", "add_n")
_DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class MonolithModel(abc.ABC):
  """A model over sparse and dense features.

  Attributes:
    p: its parameters; see `params`.
  """

  @classmethod
  def params(cls) -> InstantiableParams:
    """The parameters with their defaults. Subclasses `define` their own on top."""
    p = InstantiableParams(cls)
    p.define("name", cls.__name__, "Name of the model.")
    p.define("mode", tf.estimator.ModeKeys.TRAIN, "What its graph is built for.")
    p.define(
      "clip_norm",
      1000.0,
      "Largest joint norm of dense and sparse gradients; larger ones are scaled down. "
      "None or 0 turns clipping off.",
    )
    p.define(
      "default_occurrence_threshold",
      0,
      "How often an id must occur before it gets a row, where a feature does not say: "
      "0 to 65535.",
    )
    p.define(
      "dense_weight_decay", 0.0, "This times a dense variable is added to its gradient."
    )
    train = Params()
    train.define("steps", None, "Steps to train; None is until the data ends.")
    train.define("max_steps", None, "Global step at which training ends.")
    train.define("per_replica_batch_size", 512, "Examples a step of one worker.")
    train.define("save_checkpoints_steps", None, "Steps between two checkpoints.")
    train.define("save_checkpoints_secs", None, "Seconds between two checkpoints.")
    p.define("train", train, "Training.")
    evaluation = Params()
    evaluation.define("per_replica_batch_size", 512, "Examples a step.")
    evaluation.define("steps", None, "Steps to evaluate; None is until the data ends.")
    p.define("eval", evaluation, "Evaluation.")
    serving = Params()
    serving.define(
      "export_when_saving",
      False,
      "Export a SavedModel with every checkpoint; as many are kept as checkpoints.",
    )
    serving.define(
      "export_dir_base", "exported_models", "Where exports go, inside model_dir."
    )
    serving.define(
      "export_mode",
      "standalone",
      "'standalone': one SavedModel. 'distributed', for more rows than one process has "
      "room for: the folders entry and ps_0, ps_1 ..., each a SavedModel.",
    )
    serving.define(
      "num_ps",
      None,
      "How many servers a distributed export is for; None is as many "
      "as this process's TF_CONFIG names, or one.",
    )
    p.define("serving", serving, "Serving.")
    return p

  def __init__(self, params: InstantiableParams):
    self.p = params
    self._embedding: ShardedEmbedding | None = None
    self._extra_outputs: dict[str, dict[str, tf.Tensor]] = {}

  @abc.abstractmethod
  def input_fn(self, mode: str) -> tf.data.Dataset:
    """The data.

    Called in graph mode, with the process's place in the job in the environment
    variable `TF_CONFIG`, which is there without a cluster too.

    Training that was interrupted goes on behind the batches of this dataset that a
    worker has trained on, which are read and left out. Where they come in another order
    each time, because of a shuffle without a seed for example, it is as many other
    batches.

    Args:
      mode: one of `tf.estimator.ModeKeys`.

    Returns:
      A batched dataset whose elements are dicts of name to `Tensor`, `RaggedTensor`
      (int64 ids `[batch, (ids)]`) or `SparseTensor`.
    """

  @abc.abstractmethod
  def model_fn(self, features: dict[str, Any], mode: str):
    """The model.

    Args:
      features: a batch of what `input_fn` yields, or of what
        `serving_input_receiver_fn` receives.
      mode: one of `tf.estimator.ModeKeys`.

    Returns:
      An `estimator.EstimatorSpec`, or `(loss, label, pred)`.
    """

  def serving_input_receiver_fn(self):
    """The inputs of the served model.

    Returns:
      A `tf.estimator.export.ServingInputReceiver`; or several, as a dict of signature
      name to receiver. `'serving_default'` is one of them; the others give the same
      features in another way, such as a batch of serialized Examples.
    """
    raise NotImplementedError(
      f"{type(self).__name__} defines no serving_input_receiver_fn, which exporting it "
      "needs"
    )

  def create_embedding_feature_column(
    self,
    feature_name: str,
    occurrence_threshold: int | None = None,
    expire_time: float = 36500,
    max_seq_length: int = 0,
    shared_name: str | None = None,
    combiner: str | feature.Combiner | None = None,
  ) -> feature.FeatureColumn:
    """Declares a feature whose ids have embeddings. Called in `model_fn`.

    Args:
      feature_name: its key in `features`; ids int64 `[batch, (ids)]`.
      occurrence_threshold: how often an id must occur in training, 0 to 65535, before
        it gets a row; it reads zeros until then, and the batch with that occurrence is
        the first that trains the row. Each time it stands in a batch counts. None is
        `p.default_occurrence_threshold`. See `RunnerConfig.admission_capacity`.
      expire_time: days (fractions too) without an update after which a row is evicted:
        before the next checkpoint, or after `RunnerConfig.evict_every_hours`.
      max_seq_length: with `'first_n'`, how many ids of an example count.
      shared_name: features with the same name share one table of rows; default is the
        feature's own name.
      combiner: `'reduce_sum'`, `'reduce_mean'`, `'first_n'` or a `feature.Combiner`;
        None is the sum, or first_n where `max_seq_length > 0`.

    Returns:
      The column.

    Raises:
      ValueError: a setting is out of range or contradicts an earlier one.
    """
    if occurrence_threshold is None:
      occurrence_threshold = self.p.default_occurrence_threshold
    column = feature.FeatureColumn(
      name=feature_name,
      table=shared_name or feature_name,
      combiner=feature.make_combiner(feature_name, combiner, max_seq_length),
      occurrence_threshold=occurrence_threshold,
      expire_time=expire_time,
    )
    self._building().plan.add_feature(column)
    return column

  def lookup_embedding_slice(
    self,
    features: Sequence | Mapping[str, int],
    slice_name: str,
    slice_dim: int | None = None,
    initializer: entry.Initializer | None = None,
    optimizer: entry.Optimizer | None = None,
    compressor: entry.Compressor | None = None,
    learning_rate_fn: LearningRate | None = None,
    group_out_type: str = "add_n",
    out_type: str | None = None,
  ):
    """Looks up one slice of the embeddings of several features. Called in `model_fn`.

    Args:
      features: feature names (with `slice_dim`), `(name, dim)` pairs, a dict of name to
        dim, or lists of names, whose features are pooled by `group_out_type`.
      slice_name: rows are cut into slices by this name; the same name and feature is
        the same slice.
      slice_dim: floats of the slice, where `features` does not say.
      initializer: default `entry.DEFAULT_INITIALIZER`, uniform in +-0.05.
      optimizer: default `entry.DEFAULT_OPTIMIZER`, Adagrad(0.05) from 0.1.
      compressor: of exported models; default `entry.DEFAULT_COMPRESSOR`, 16 bit floats.
      learning_rate_fn: a number, or a function of the global step such as
        `learning_rate_functions.PolynomialDecay`; default the optimizer's own rate.
      group_out_type: how a group becomes one tensor: `'add_n'`, `'concat'` (last axis)
        or `'stack'` (axis 1).
      out_type: None for a list, or one of those three for one tensor of all.

    Returns:
      A list of float32 `[batch, dim]` (`[batch, n, dim]` for first_n) in the order of
      `features`, or one tensor.

    Raises:
      ValueError: the arguments do not fit together, or contradict an earlier call.
    """
    groups = _groups(features, slice_dim)
    for name, value, choices in (
      ("group_out_type", group_out_type, _OUT_TYPES),
      ("out_type", out_type, (None, *_OUT_TYPES)),
    ):
      if value not in choices:
        raise ValueError(f"{name}: got {value!r}, wanted one of {choices}")
    if not groups and out_type is not None:
      raise ValueError(f"features: got none, which have no out_type {out_type!r}")
    embedding = self._building()
    optimizer = optimizer or entry.DEFAULT_OPTIMIZER
    if learning_rate_fn is None:
      learning_rate_fn = getattr(optimizer, "learning_rate", 0.0)

    def declare(name: str, dim: int) -> tf.Tensor:
      segment = Segment(
        name=slice_name,
        dim=dim,
        initializer=initializer or entry.DEFAULT_INITIALIZER,
        optimizer=optimizer,
        compressor=compressor or entry.DEFAULT_COMPRESSOR,
        learning_rate=learning_rate_fn,
      )
      return embedding.declare(name, segment)

    outputs = [
      _join([declare(name, dim) for name, dim in members], group_out_type)
      if isinstance(members, list)
      else declare(*members)
      for members in groups
    ]
    return outputs if out_type is None else _join(outputs, out_type)

  def add_extra_output(
    self, name: str, outputs: tf.Tensor | Mapping[str, tf.Tensor]
  ) -> None:
    """Lets an exported model give more than its heads' predictions. Called in
    `model_fn`.

    A model server with batching needs one row of each for each example, which depends
    on that example alone: it may give several requests parts of one result.

    Args:
      name: of the signature that gives them.
      outputs: tensors by name, or one, which is called `name`.

    Raises:
      ValueError: there is such a signature, or the outputs are no tensors.
    """
    self._building()
    if not isinstance(name, str) or not name or name == _DEFAULT_SIGNATURE:
      raise ValueError(
        f"name: got {name!r}, wanted that of a signature other than "
        f"{_DEFAULT_SIGNATURE!r}"
      )
    if name in self._extra_outputs:
      raise ValueError(f"extra output {name!r} was added twice")
    named = dict(outputs) if isinstance(outputs, Mapping) else {name: outputs}
    for key, output in named.items():
      if not isinstance(key, str) or not isinstance(output, tf.Tensor):
        raise ValueError(
          f"extra output {name!r}: got {output!r} for {key!r}, wanted a tensor"
        )
    if not named:
      raise ValueError(f"extra output {name!r}: got none, wanted at least one tensor")
    self._extra_outputs[name] = named

  @property
  def extra_outputs(self) -> dict[str, dict[str, tf.Tensor]]:
    """What was added when the model was built last, by signature and name."""
    return self._extra_outputs

  def build(self, features: dict[str, Any], mode: str, **placement):
    """Runs `model_fn` and adds the lookup of what it declared.

    Args:
      features: a batch.
      mode: one of `tf.estimator.ModeKeys`.
      **placement: arguments of `ShardedEmbedding`.

    Returns:
      What `model_fn` returned, and the `ShardedEmbedding`.
    """
    self._embedding = ShardedEmbedding(features, **placement)
    self._extra_outputs = {}
    self.p.mode = mode
    try:
      result = self.model_fn(features, mode)
      embedding = self._embedding
    finally:
      self._embedding = None
    embedding.build()
    return result, embedding

  def _building(self) -> ShardedEmbedding:
    if self._embedding is None:
      raise RuntimeError(
        "create_embedding_feature_column and lookup_embedding_slice are called from "
        "model_fn, which an Estimator runs"
      )
    return self._embedding


def _groups(features, slice_dim: int | None) -> list:
  """`features` as a list of `(name, dim)` and, for groups, lists of those."""

  def with_dim(name: str) -> tuple[str, int]:
    if slice_dim is None:
      raise ValueError(f"feature {name!r}: slice_dim is missing")
    return name, slice_dim

  if isinstance(features, Mapping):
    return list(features.items())
  if isinstance(features, str) or not isinstance(features, collections.abc.Sequence):
    raise ValueError(
      f"features: got {features!r}, wanted names, (name, dim) pairs, a dict of name to "
      "dim, or lists of names"
    )
  groups = []
  for item in features:
    if isinstance(item, str):
      groups.append(with_dim(item))
    elif isinstance(item, tuple) and len(item) == 2 and is_whole(item[1]):
      groups.append(item)
    elif isinstance(item, (list, tuple)) and all(isinstance(n, str) for n in item):
      groups.append([with_dim(name) for name in item])
    else:
      raise ValueError(
        f"features: got {item!r}, wanted a name, a (name, dim) pair or a list of names"
      )
  if not all(groups):
    raise ValueError("features: got an empty group")
  return groups


def _join(tensors: list[tf.Tensor], how: str) -> tf.Tensor:
  if how == "add_n":
    return tf.add_n(tensors)
  if how == "concat":
    return tf.concat(tensors, axis=-1)
  return tf.stack(tensors, axis=1)
