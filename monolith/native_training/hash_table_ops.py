"""One embedding table by itself, without a model: for notebooks, tests and tools.

  table = HashTable('items', dim=32)
  table.assign([7, 9], values)
  table.lookup([7, 8])     # 8 has no row: its initial value

Works eagerly and in graphs. In a graph the methods return tensors and ops to run.
"""

import itertools
import os
import reprlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import monolith.native_training.tensorflow_compat  # noqa: F401
from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.local_files import whole_file
from monolith.native_training.local_files.local_path import (
  local_path,
  without_parents,
)
from monolith.native_training.number_checks import is_whole
from monolith.native_training.runtime.ops import core_errors, loader

_SEGMENT = "embedding"
_BOOLS = (bool, np.bool_)
_unique = itertools.count()


class HashTable:
  """A table of one row of `dim` floats for every int64 id.

  A row appears when it is assigned or gets its first gradient; reading an id without a
  row gives its initial value, which depends on `name` and the id alone, or zeros where
  there is an `occurrence_threshold`.

  Args:
    name: seeds the initial values, and names the table in saved files.
    dim: floats of a row, at least 1.
    initializer: default `entry.DEFAULT_INITIALIZER`, uniform in +-0.05.
    optimizer: default `entry.DEFAULT_OPTIMIZER`, Adagrad(0.05) from 0.1.
    occurrence_threshold: how often an id must occur in `apply_gradients`, 0 to 65535,
      before it gets a row; it reads zeros until then. The call with that occurrence is
      the first that trains the row. `assign` and `assign_add` make a row at once.
    expire_time: days (fractions too) without an update after which `evict` and `save`
      remove a row.
    admission_capacity: with an `occurrence_threshold`, how many ids without a row are
      counted at a time, 8 bytes each (below 100,000, 20 KiB more in all); where there
      are more, those that have not occurred for longest begin at 0 again.

  Raises:
    ValueError: an argument is out of range.
  """

  def __init__(
    self,
    name: str,
    dim: int,
    initializer: entry.Initializer | None = None,
    optimizer: entry.Optimizer | None = None,
    occurrence_threshold: int = 0,
    expire_time: float = 36500,
    admission_capacity: int = plan.DEFAULT_ADMISSION_CAPACITY,
  ):
    if not isinstance(name, str) or not name:
      raise ValueError(f"name: got {name!r}, wanted a string of at least one character")
    feature.check_row_rules(f"table {name!r}", occurrence_threshold, expire_time)
    plan.check_admission_capacity("admission_capacity", admission_capacity)
    if not is_whole(dim) or dim < 1:
      raise ValueError(f"dim: got {dim!r}, wanted a whole number, at least 1")
    self.name = name
    self.dim = int(dim)
    optimizer = optimizer or entry.DEFAULT_OPTIMIZER
    self._learning_rate = getattr(optimizer, "learning_rate", 0.0)
    table = plan.Table(
      name,
      occurrence_threshold,
      expire_time,
      admission_capacity=admission_capacity,
    )
    table.add(
      plan.Segment(
        _SEGMENT,
        self.dim,
        initializer or entry.DEFAULT_INITIALIZER,
        optimizer,
        entry.DEFAULT_COMPRESSOR,
        self._learning_rate,
      )
    )
    self._config = plan.tables_config([table])
    self._shared_name = f"table/{name}/{os.getpid()}/{next(_unique)}"
    self._ops = core_errors.PlainOps(loader.ops())
    with tf.init_scope():
      self._eager_handle = self._make_handle() if tf.executing_eagerly() else None

  def __del__(self):
    handle = getattr(self, "_eager_handle", None)
    if handle is not None and tf.executing_eagerly():
      tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)

  def lookup(self, ids) -> tf.Tensor:
    """The rows of ids.

    Args:
      ids: int64 `[n]`, any values, repeated ones too.

    Returns:
      float32 `[n, dim]`.
    """
    ids = self._ids(ids)
    values = self._ops.monolith_lookup(self._handle(), self._request(ids))
    return tf.reshape(values, [-1, self.dim])

  def assign(self, ids, values) -> tf.Operation | None:
    """Sets rows; of a repeated id the last one counts.

    Args:
      ids: int64 `[n]`.
      values: float32 `[n, dim]`, finite.
    """
    return self._assign(ids, values, "set")

  def assign_add(self, ids, values) -> tf.Operation | None:
    """Adds to rows, a new one beginning at its initial value.

    Args:
      ids: int64 `[n]`; what is added to a repeated id is summed.
      values: float32 `[n, dim]`, finite. Sums stay within the largest finite float.
    """
    return self._assign(ids, values, "add")

  def apply_gradients(
    self, ids, grads, learning_rate=None, update_time=None, global_step=0
  ) -> tf.Operation | None:
    """Lets the optimizer change rows.

    Args:
      ids: int64 `[n]`; the gradients of a repeated id are summed, then applied once.
        With an `occurrence_threshold` each counts as one occurrence, and ids that have
        not occurred often enough are passed over.
      grads: float32 `[n, dim]`, finite.
      learning_rate: default the optimizer's.
      update_time: seconds since 1970, for expiry; default now.
      global_step: for an optimizer with warm-up.
    """
    if learning_rate is None:
      learning_rate = self._learning_rate
    ids = self._ids(ids)
    return self._ops.monolith_update(
      self._handle(),
      self._request(ids),
      self._values(grads, "grads", ids),
      learning_rates=tf.reshape(
        _number("learning_rate", learning_rate, tf.float32), [1]
      ),
      update_time=_seconds("update_time", update_time),
      global_step=_number("global_step", global_step, tf.int64),
    )

  def erase(self, ids) -> tf.Tensor:
    """Removes rows.

    Returns:
      How many there were: int64 scalar.
    """
    return self._ops.monolith_erase(self._handle(), self._request(self._ids(ids)))

  def evict(self, now=None) -> tf.Tensor:
    """Removes rows that were not updated for `expire_time`.

    Args:
      now: seconds since 1970; default now.

    Returns:
      How many were removed: int64 scalar.
    """
    return self._ops.monolith_evict(self._handle(), _seconds("now", now))[0]

  def size(self) -> tf.Tensor:
    """Rows: int64 scalar."""
    return self._ops.monolith_table_stats(self._handle())[0][0]

  def memory_bytes(self) -> tf.Tensor:
    """Bytes that rows, their index and ids on trial take: int64 scalar."""
    return self._ops.monolith_table_stats(self._handle())[1][0]

  def save(self, basename, now=None) -> tf.Tensor:
    """Writes all rows, with their optimizer state, and how often ids without a row have
    occurred, to the file `basename`. Rows that were not updated for `expire_time` are
    removed first, as `evict` does.

    Args:
      basename: path of the file; of a link on this machine, what it points to is
        replaced. A tensor that a graph computes is taken as it is. What is written is
        `basename.tmp-HEX` until it is whole; where a process is killed before, that
        stays, and goes with a save to the same path a day later or more.
      now: seconds since 1970; default now.

    Returns:
      How many rows were written: int64 scalar.

    Raises:
      tf.errors.AbortedError: `restore` was called meanwhile; a file that was there
        stays as it was.
      tf.errors.OpError: storage fails.
      OSError: what is at `basename` is no file, as a folder or device.
      ValueError: `basename` is empty or has a NUL.
    """
    basename = _file_to_write(basename)
    with tf.control_dependencies([self.evict(now)]):
      saved = self._ops.monolith_save_tables(
        self._handle(),
        basename,
        shard_index=0,
        num_shards=1,
        save_id="",
        base_save_id="",
        urgent=False,
      )
      return saved.rows

  def restore(self, basename) -> tf.Tensor:
    """Replaces all rows by those of a file that `save` wrote. Ids without a row go on
    from the occurrences counted then, unless the `admission_capacity` was another.

    Returns:
      How many rows were read: int64 scalar.

    Raises:
      tf.errors.DataLossError, tf.errors.InvalidArgumentError: the file is damaged, or
        another table's; the rows stay as they were.
      tf.errors.AbortedError: `restore` was called again meanwhile.
      tf.errors.OpError: storage fails, or one with other rows takes the file's place;
        where that is while rows are replaced, the table is empty.
      ValueError: `basename` is empty or has a NUL.
    """
    return self._ops.monolith_restore_tables(
      self._handle(),
      [_path(basename)],
      save_ids=tf.constant([], tf.string),
      shard_index=0,
      num_shards=1,
      log_warnings=True,
    ).rows

  def _make_handle(self) -> tf.Tensor:
    return self._ops.monolith_table_set(
      config=self._config, shared_name=self._shared_name
    )

  def _handle(self) -> tf.Tensor:
    # A tf.function captures the one handle: by it TensorFlow keeps calls in order.
    with tf.init_scope():
      is_eager = tf.executing_eagerly()
    if is_eager and self._eager_handle is not None:
      return self._eager_handle
    return self._make_handle()

  def _ids(self, ids: Sequence[int] | tf.Tensor) -> tf.Tensor:
    if isinstance(ids, (tf.RaggedTensor, tf.SparseTensor)):
      raise ValueError(
        f"ids: got a {type(ids).__name__}, wanted int64 [n], such as its values"
      )
    given = getattr(ids, "dtype", None)
    if given is not None and tf.as_dtype(given) != tf.int64:
      raise ValueError(f"ids: got {tf.as_dtype(given).name}, wanted int64 [n]")
    if isinstance(ids, (list, tuple)) and any(isinstance(i, _BOOLS) for i in ids):
      raise ValueError("ids: got True or False among them, wanted int64 [n]")
    try:
      ids = tf.convert_to_tensor(ids, tf.int64)
    except (OverflowError, TypeError, ValueError) as error:
      raise ValueError(f"ids: got {reprlib.repr(ids)}, wanted int64 [n]") from error
    if ids.shape.rank not in (1, None):
      raise ValueError(f"ids: got shape {ids.shape}, wanted [n]")
    return tf.ensure_shape(ids, [None])

  def _request(self, ids: tf.Tensor) -> tf.Tensor:
    """The request of a set of one table: the number of ids, then the ids."""
    return tf.concat([tf.shape(ids, out_type=tf.int64), ids], axis=0)

  def _values(self, values, what: str, ids: tf.Tensor) -> tf.Tensor:
    if tf.is_tensor(values) and values.dtype != tf.float32:
      raise ValueError(f"{what}: got {values.dtype.name}, wanted float32 [n, dim]")
    try:
      values = tf.convert_to_tensor(values, tf.float32)
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"{what}: got {reprlib.repr(values)}, wanted float32 [n, dim]"
      ) from error
    wanted = tf.TensorShape([ids.shape.dims[0] if ids.shape.rank else None, self.dim])
    if not values.shape.is_compatible_with(wanted):
      raise ValueError(f"{what}: got shape {values.shape}, wanted {wanted}")
    return tf.reshape(tf.ensure_shape(values, [None, self.dim]), [-1])

  def _assign(self, ids, values, mode: str):
    ids = self._ids(ids)
    return self._ops.monolith_assign(
      self._handle(),
      self._request(ids),
      self._values(values, "values", ids),
      update_time=_seconds("update_time", None),
      mode=mode,
    )


@tf.autograph.experimental.do_not_convert
def _path(basename):
  """What the ops take as a path."""
  is_text = isinstance(basename, str | os.PathLike)
  path = os.fspath(basename) if is_text else _known(basename)
  if path is not None and (not path or "\0" in path):
    raise ValueError(f"basename: got {path!r}, wanted the path of a file")
  return without_parents(path) if is_text else basename


def _known(basename) -> str | None:
  """A path in a tensor or the like; None where only a graph that runs knows it."""
  given = tf.get_static_value(tf.convert_to_tensor(basename, tf.string))
  if given is None or np.ndim(given):
    return None
  # An array of bytes would drop a NUL at their end.
  return os.fsdecode(given if isinstance(given, bytes) else given.item())


def _file_to_write(basename):
  """A path for the op, which would replace links and devices themselves; it follows
  links to folders when it runs."""
  basename = _path(basename)
  known = _known(basename)
  path = None if known is None else local_path(known)
  if not path:
    return basename
  target = whole_file.target_of(path)
  return target if os.path.islink(path) else basename


def _number(what: str, value, dtype: tf.DType) -> tf.Tensor:
  """One number as a scalar."""
  try:
    # As TensorFlow would take it, a float is too coarse for a time in seconds.
    float_type = tf.float64 if isinstance(value, float) else None
    number = tf.convert_to_tensor(value, float_type)
  except (OverflowError, TypeError, ValueError) as error:
    raise ValueError(f"{what}: got {value!r}, wanted one number") from error
  if not (number.dtype.is_integer or number.dtype.is_floating):
    raise ValueError(f"{what}: got {value!r}, wanted one number")
  if number.shape.num_elements() not in (1, None):
    raise ValueError(f"{what}: got shape {number.shape}, wanted one number")
  return tf.reshape(tf.cast(number, dtype), [])


def _seconds(what: str, time) -> tf.Tensor:
  return _number(what, tf.timestamp() if time is None else time, tf.int64)
