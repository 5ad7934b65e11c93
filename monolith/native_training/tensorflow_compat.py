"""What TensorFlow has dropped and model code still names.

Imported for its effect. From TensorFlow 2.16 on there is no `tf.estimator`;
models need two small things of it, `tf.estimator.ModeKeys` and
`tf.estimator.export.ServingInputReceiver`, which this module puts in its place.
"""

import types

import tensorflow as tf


class ModeKeys:
  """What a graph is built for; the second argument of `model_fn`."""

  TRAIN = "train"
  EVAL = "eval"
  PREDICT = "infer"


class ServingInputReceiver:
  """The inputs of a served model and the features made of them.

  Attributes:
    features: dict of name to `Tensor` or `RaggedTensor`, given to `model_fn`.
    receiver_tensors: dict of name to placeholder, what a client sends; default the
      features themselves.
  """

  def __init__(
    self, features, receiver_tensors=None, receiver_tensors_alternatives=None
  ):
    if receiver_tensors is None:
      receiver_tensors = features
    if isinstance(receiver_tensors, tf.Tensor):
      receiver_tensors = {"input": receiver_tensors}
    if not isinstance(receiver_tensors, dict) or not receiver_tensors:
      raise ValueError(
        f"receiver_tensors: got {receiver_tensors!r}, wanted a dict of name to tensor"
      )
    self.features = features
    self.receiver_tensors = dict(receiver_tensors)
    self.receiver_tensors_alternatives = receiver_tensors_alternatives


def _provide_tf_estimator() -> None:
  try:
    tf.estimator.export.ServingInputReceiver  # noqa: B018
  except (AttributeError, ImportError):
    export = types.SimpleNamespace(ServingInputReceiver=ServingInputReceiver)
    tf.estimator = types.SimpleNamespace(ModeKeys=ModeKeys, export=export)


_provide_tf_estimator()
