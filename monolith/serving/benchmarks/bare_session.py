"""The speed of `session.run` on an export, without a server."""

import time

import numpy as np
import tensorflow as tf

from monolith.native_training.runtime.ops import loader

_WARM_UP_CALLS = 50


class BareSession:
  """A session on a SavedModel."""

  def __init__(self, path: str):
    loader.ops()
    graph = tf.Graph()
    self._session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
      meta_graph = tf.compat.v1.saved_model.load(
        self._session, [tf.saved_model.SERVING], path
      )
    signature = meta_graph.signature_def["serving_default"]
    self._inputs = {name: info.name for name, info in signature.inputs.items()}
    self._outputs = {name: info.name for name, info in signature.outputs.items()}

  def runs_per_second(self, batch: dict[str, np.ndarray], seconds: float) -> float:
    """Calls in one thread, one after the other."""
    feeds = {self._inputs[name]: value for name, value in batch.items()}
    for _ in range(_WARM_UP_CALLS):
      self._session.run(self._outputs, feeds)
    begin = now = time.perf_counter()
    count = 0
    while now < begin + seconds:
      self._session.run(self._outputs, feeds)
      count += 1
      now = time.perf_counter()
    return count / (now - begin)
