"""One version of a model, loaded: a session over its SavedModel.

Any number of threads may `run` it. Who uses it retains it before and releases it after,
both in the thread of the event loop; it is not closed while it has users.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from monolith.native_training.runtime.ops import loader
from monolith.serving.errors import Code, ServingError, invalid_argument, of_exception
from monolith.serving.servable.row_record import RowRecord
from monolith.serving.servable.signature import Signature

_PREDICT = "tensorflow/serving/predict"


class Servable:
  """Loads a SavedModel.

  Args:
    name: of the model.
    version: of it.
    path: folder of the SavedModel.
    session_config: of the session.

  Raises:
    tf.errors.OpError, OSError, ValueError: it cannot be loaded.
  """

  def __init__(
    self,
    name: str,
    version: int,
    path: str,
    session_config: tf.compat.v1.ConfigProto | None = None,
  ):
    loader.ops()
    self.name = name
    self.version = version
    self.path = path
    self.users = 0
    self._rows = RowRecord(f"version {version} of {name}")
    graph = tf.Graph()
    self._session = tf.compat.v1.Session(graph=graph, config=session_config)
    try:
      with graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(
          self._session, [tf.saved_model.SERVING], path
        )
    except BaseException:
      self._session.close()
      raise
    self.definitions = dict(meta_graph.signature_def)
    self.signatures: dict[str, Signature] = {}
    self._callables: dict[str, Callable] = {}
    for key, definition in self.definitions.items():
      signature = Signature.of(key, definition)
      if signature and definition.method_name == _PREDICT:
        self.signatures[key] = signature
        self._callables[key] = self._callable(signature)

  def _callable(self, signature: Signature) -> Callable:
    """Runs the signature, in the thread that calls.

    Built for repeated calls: a fourth of what `Session.run` and `make_callable` cost
    for small batches, nearly all of which is theirs.
    """
    options = config_pb2.CallableOptions(
      feed=[spec.tensor for spec in signature.inputs.values()],
      fetch=[spec.tensor for spec in signature.outputs.values()],
    )
    options.run_options.inter_op_thread_pool = -1
    return self._session._make_callable_from_options(options)

  def signature(self, name: str) -> Signature:
    """The signature of a name; "" means `serving_default`.

    Raises:
      ServingError: there is none.
    """
    name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    signature = self.signatures.get(name)
    if signature is not None:
      return signature
    if name in self.definitions:
      raise invalid_argument(
        f'Signature "{name}" is not served: it must have method_name "{_PREDICT}" (it '
        f'has "{self.definitions[name].method_name}"), at least one input, and nothing '
        "but dense tensors, none of them of resource or variant."
      )
    raise ServingError(
      Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
    )

  def run(
    self, signature: Signature, feeds: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Computes all outputs of one of the signatures.

    Args:
      signature: one of `signatures`.
      feeds: all its inputs, of its dtypes and shapes.

    Raises:
      ServingError: TensorFlow's error.
    """
    try:
      values = self._callables[signature.name](
        *(feeds[key] for key in signature.inputs)
      )
    except tf.errors.OpError as error:
      raise of_exception(error) from error
    except UnicodeDecodeError as error:
      # Instead of TensorFlow's own error, and so of its code, where that quotes bytes
      # of the request which are no text.
      message = error.object.decode(errors="backslashreplace")
      raise invalid_argument(message) from error
    outputs = dict(zip(signature.outputs, map(_array, values), strict=True))
    self._rows.add(signature, feeds, outputs)
    return outputs

  def by_example(self, signature: Signature) -> bool | None:
    """Whether all outputs had one row for each example in all runs so far; None before
    any."""
    return self._rows.by_example(signature)

  def retain(self) -> None:
    """Keeps it open until `release`."""
    self.users += 1

  def release(self) -> None:
    """Gives back what `retain` has given."""
    self.users -= 1

  def interrupt(self) -> None:
    """Ends what is running, with an error, as far as TensorFlow's ops let that be; from
    any thread. It is still to be closed."""
    session = self._session
    if session is not None:
      session.close()

  def close(self) -> None:
    """Frees the session and the tables."""
    self._callables.clear()
    self._session.close()
    self._session = None
    gc.collect()  # Graphs have cycles, and hold the model's constants.


def _array(value: np.ndarray | np.generic | bytes) -> np.ndarray | np.generic:
  """A value of TensorFlow, which gives `bytes` for one string without dimensions."""
  return np.array(value, object) if isinstance(value, bytes) else value
