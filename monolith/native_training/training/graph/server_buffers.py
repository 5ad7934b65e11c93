"""One buffer from each server to a worker and one back, a step.

A tensor that crosses between processes costs far more than its bytes do. So what a
step reads of one server, rows of its tables and dense variables, is joined there into
one flat buffer that the worker takes apart, and the gradients go back in the same form.
Values are only copied: training is bit for bit the same.
"""

from collections.abc import Sequence

import tensorflow as tf

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding


class ServerBuffers:
  """The buffers of one graph. Create it once all gradients are in the graph, and
  before anything that is to read variables directly.

  Args:
    embedding: built, with its tables on `embedding.servers`.
    variables: dense variables to pack: float32, of known shape. Those that live on none
      of the servers are left as they are; see `variables`.
  """

  def __init__(self, embedding: ShardedEmbedding, variables: Sequence[tf.Variable]):
    self._servers = embedding.servers
    # Within one process nothing crosses, and joining would only copy.
    self._groups = [
      [v for v in variables if server and task_of(v.device) == task_of(server)]
      for server in self._servers
    ]
    self._sizes = [sum(_sizes(group)) for group in self._groups]
    for i, server in enumerate(self._servers):
      if self._groups[i]:
        self._join_reads(embedding, i, server)

  @property
  def variables(self) -> list[list[tf.Variable]]:
    """The packed variables of each server."""
    return self._groups

  def join(
    self, gradients: Sequence[Sequence[tf.Tensor]], row_buffers: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    """A buffer for each server, on the worker: gradients of its variables and rows.

    Args:
      gradients: parallel to `variables`.
      row_buffers: flat float32, one a server; may be empty without tables.
    """
    rows = list(row_buffers) or [tf.zeros([0])] * len(self._servers)
    return [
      tf.concat([*(tf.reshape(g, [-1]) for g in group), buffer], axis=0)
      if group
      else buffer
      for group, buffer in zip(gradients, rows, strict=True)
    ]

  def split(
    self, buffers: Sequence[tf.Tensor]
  ) -> tuple[list[tuple[tf.Tensor, tf.Variable]], list[tf.Tensor]]:
    """Takes the buffers of `join` apart again, on the servers.

    Returns:
      Gradients with their variables, and the row buffers.
    """
    pairs, rows = [], []
    for i, server in enumerate(self._servers):
      if not self._groups[i]:
        rows.append(buffers[i])
        continue
      with tf.device(server):
        dense, row = self._parts(buffers[i], i)
        parts = tf.split(dense, _sizes(self._groups[i]))
        pairs += [
          (tf.reshape(part, v.shape), v)
          for part, v in zip(parts, self._groups[i], strict=True)
        ]
        rows.append(row)
    return pairs, rows

  def _parts(self, buffer: tf.Tensor, i: int) -> tuple[tf.Tensor, tf.Tensor]:
    # Slices share memory where a split would copy.
    return buffer[: self._sizes[i]], buffer[self._sizes[i] :]

  def _join_reads(
    self, embedding: ShardedEmbedding, i: int, server: str | None
  ) -> None:
    group = self._groups[i]
    reads = [_reads_of(v) for v in group]
    with tf.device(server):
      dense = [tf.reshape(v.read_value(), [-1]) for v in group]
      rows = embedding.looked_up(i)
      joined = tf.concat(dense if rows is None else [*dense, rows], axis=0)
    dense, rows = self._parts(joined, i)
    if embedding.looked_up(i) is not None:
      embedding.replace_looked_up(i, rows)
    for part, v, outputs in zip(
      tf.split(dense, _sizes(group)), group, reads, strict=True
    ):
      value = tf.reshape(part, v.shape)
      for output in outputs:
        _replace(output, value)


def _reads_of(variable: tf.Variable) -> list[tf.Tensor]:
  """The variable's values that the graph uses, but for those read at a certain time."""
  return [
    op.outputs[0]
    for op in variable.handle.consumers()
    if op.type == "ReadVariableOp" and not op.control_inputs
  ]


def _replace(tensor: tf.Tensor, value: tf.Tensor) -> None:
  """Lets all that use one tensor use another of the same value."""
  for op in tensor.consumers():
    for i, source in enumerate(op.inputs):
      if source is tensor:
        op._update_input(i, value)  # no public way.


def _sizes(group: Sequence[tf.Variable]) -> list[int]:
  return [v.shape.num_elements() for v in group]


def task_of(device: str | None) -> tuple[str | None, int | None]:
  """The job and the task in a device's name."""
  spec = tf.DeviceSpec.from_string(device or "")
  return spec.job, spec.task
