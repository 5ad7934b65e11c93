"""Which parameter server holds which dense variable."""

import tensorflow as tf

from monolith.native_training.training.processes.cluster import Cluster


class _LeastLoaded:
  """Gives each variable to the server that holds the fewest bytes so far."""

  def __init__(self, num_servers: int):
    self._bytes = [0] * num_servers

  def __call__(self, op: tf.Operation) -> int:
    server = self._bytes.index(min(self._bytes))
    self._bytes[server] += _size_bytes(op)
    return server


def _size_bytes(op: tf.Operation) -> int:
  if op.type != "VarHandleOp":
    return 1
  shape = tf.TensorShape(op.get_attr("shape"))
  elements = shape.num_elements() if shape.is_fully_defined() else 1
  return elements * op.get_attr("dtype").size


def device_setter(cluster: Cluster):
  """The device function of a worker's graph: variables on servers, spread by size,
  everything else on the worker. None where there are no servers."""
  if not cluster.is_distributed:
    return None
  return tf.compat.v1.train.replica_device_setter(
    worker_device=cluster.worker_device,
    cluster=cluster.spec(),
    ps_strategy=_LeastLoaded(len(cluster.ps)),
  )
