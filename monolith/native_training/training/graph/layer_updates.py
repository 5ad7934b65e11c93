"""What layers update beside the gradients, such as the means of batch normalization.

`tf.compat.v1.layers` put these ops in the collection `UPDATE_OPS`. Keras layers in a
graph leave them with the layer, where nobody looks: `collected` puts them there too.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_UPDATE_OPS = tf.compat.v1.GraphKeys.UPDATE_OPS


def all_of_graph() -> list[tf.Operation]:
  """The default graph's updates, each once.

  A functional Keras model has updates of its `tf.keras.Input` too, which nobody feeds:
  they are left out.
  """
  updates = tf.compat.v1.get_collection(_UPDATE_OPS)
  ops = dict.fromkeys(getattr(update, "op", update) for update in updates)
  return [op for op in ops if not _depends_on_placeholder(op)]


def _depends_on_placeholder(op: tf.Operation) -> bool:
  seen, waiting = {op}, [op]
  while waiting:
    op = waiting.pop()
    if op.type == "Placeholder":
      return True
    sources = {source.op for source in op.inputs} | set(op.control_inputs)
    waiting += sources - seen
    seen |= sources
  return False


@contextlib.contextmanager
def collected() -> Iterator[None]:
  """Collects the updates of the Keras layers that are called in this context."""
  with tf.Graph().as_default():
    # The classes behind `tf.keras.layers.Layer`: for graphs and for functions.
    classes = {type(tf.keras.layers.Layer()), tf.keras.layers.Layer}
  with contextlib.ExitStack() as stack:
    for layer_class in classes:
      original = layer_class.add_update
      stack.callback(setattr, layer_class, "add_update", original)
      layer_class.add_update = _collecting(original)
    yield


def _collecting(original: Callable) -> Callable:
  def add_update(layer: tf.keras.layers.Layer, updates: Any) -> None:
    original(layer, [_collected(update) for update in tf.nest.flatten(updates)])

  return add_update


def _collected(update: Any) -> Any:
  if not callable(update):
    _add(update)
    return update

  def called() -> Any:
    result = update()
    _add(result)
    return result

  return called


def _add(update: Any) -> None:
  if isinstance(update, tf.Operation) or hasattr(update, "op"):
    tf.compat.v1.add_to_collection(_UPDATE_OPS, update)
