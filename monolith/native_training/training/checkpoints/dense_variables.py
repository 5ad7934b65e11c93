"""The dense variables of a checkpoint, in TensorFlow's own format."""

from collections.abc import Callable, Container
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.progress_log import progress_log
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training.checkpoints import checkpoint_errors
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
)
from monolith.native_training.training.processes.server_question import ServerQuestion

# A graph collection of `JobVariable`.
OF_THE_JOB = "monolith_variables_of_the_job"


class JobVariable(NamedTuple):
  """A global variable that describes the job, not the model. A job of another layout
  has it in another shape, and none has it for a start.

  Attributes:
    variable: it.
    fit: makes of a checkpoint's value one for this job; None takes it where its shape
      is the same. One of another dtype is not taken.
  """

  variable: tf.Variable
  fit: Callable[[np.ndarray], np.ndarray] | None = None

  @property
  def name(self) -> str:
    """By which TensorFlow writes the collection into summaries."""
    return self.variable.name


class _Saved(NamedTuple):
  """What the variables in a checkpoint's files are, by their names."""

  shapes: dict[str, list[int]]
  dtypes: dict[str, tf.DType]


class DenseVariables:
  """Saves and restores the default graph's global variables, and the objects in
  TensorFlow's collection `SAVEABLE_OBJECTS`, such as its mutable hash tables.

  Those in the collection `OF_THE_JOB`, and the global step with them, are read before
  all others are: they say what is trained on, and that must be in the others. They get
  their initial values where a checkpoint lacks them or has them in another shape or
  dtype; others do so where `restore` may let them.

  Errors name the checkpoint's files: PATH.index and PATH.data-*.

  Args:
    servers: tells whether one is away; default: asks those that have variables.
  """

  def __init__(self, servers: ServerQuestion | None = None):
    if servers is None:
      servers = ServerQuestion(v.device for v in tf.compat.v1.global_variables())
    self._servers = servers
    self._step = tf.compat.v1.train.get_global_step()
    # Where there is none, as in another thread, TensorFlow's saver takes its variables
    # for eager ones.
    self._graph = tf.compat.v1.get_default_graph()
    self._of_job = tf.compat.v1.get_collection(OF_THE_JOB)
    of_job = {each.variable.ref() for each in self._of_job}
    self._variables = [
      v for v in tf.compat.v1.global_variables() if v.ref() not in of_job
    ]
    others = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVEABLE_OBJECTS)
    self._others = others
    first = [each.variable for each in self._of_job]
    if first and self._step is not None:
      first.append(self._step)
    copies = {variable.op.name: _copy(variable) for variable in first}
    self._copy_first = tf.group([copy.initializer for copy in copies.values()])
    self._saver = tf.compat.v1.train.Saver(
      {**_by_name(self._variables), **{o.name: o for o in others}, **copies},
      max_to_keep=None,
      save_relative_paths=True,
      sharded=True,
    )
    self._restorer = tf.compat.v1.train.Saver(
      [*self._variables, *others], max_to_keep=None, sharded=True
    )
    self._restorers_of_others = {
      o.name: tf.compat.v1.train.Saver([o], sharded=True) for o in others
    }
    self._clearings_of_others = {o.name: _clearing(o) for o in others}

  def save(self, session: tf.compat.v1.Session, path: str) -> None:
    """Writes the files.

    Raises:
      tf.errors.OpError: they cannot be written.
    """
    try:
      with self._graph.as_default():
        session.run(self._copy_first)
        self._saver.save(session, path, write_meta_graph=False, write_state=False)
    except tf.errors.OpError as error:
      message = f"cannot save {_files(path)}: {core_errors.sentence_of(error)}"
      raise type(error)(error.node_def, None, message) from None

  def restore(
    self, session: tf.compat.v1.Session, path: str, may_begin_anew: bool = False
  ) -> None:
    """Reads the files.

    Args:
      may_begin_anew: whether variables that are not there, or in another shape or
        dtype, get their initial values, and each `MutableHashTable` of which that holds
        is empty, with a warning that names them; other objects stay as they are.
        What the model does not have is left out.

    Raises:
      DamagedCheckpointError: a file is missing or damaged.
      MisfitError: variables or other objects may not begin anew, but would have to; or
        an object does not take what was saved of it.
      StorageError: a file cannot be read.
    """
    saved = _saved(_reader(path))
    misfits = {v.ref(): text for v in self._variables if (text := _misfit(v, saved))}
    others = {
      o.name: text for o in self._others if (text := _misfit_of_other(o, saved))
    }
    # Every part of a variable tells the same of the whole.
    texts = "; ".join(dict.fromkeys([*misfits.values(), *others.values()]))
    if texts and not may_begin_anew:
      raise MisfitError(f"{path}.index does not fit the model: {texts}")
    if texts:
      logging.warning(
        "these dense variables%s BEGIN ANEW, with initial values, because %s does not "
        "fit the model: %s",
        " and objects" if others else "",
        path,
        texts,
      )
    if may_begin_anew:
      self._tell_of_lost(path, saved.shapes)
    if texts:
      self._restore_all_but(session, path, misfits, others)
    else:
      self._run_restorer(self._restorer, session, path)
    self._restore_job(session, path)

  def _run_restorer(self, restorer, session: tf.compat.v1.Session, path: str) -> None:
    try:
      with self._graph.as_default():
        restorer.restore(session, path)
    except tf.errors.OpError as error:
      if self._servers.is_away(session, error):
        raise
      message = _unreadable(path, core_errors.sentence_of(error))
      if isinstance(error, tf.errors.InvalidArgumentError):
        # What was read was not taken, as by a hash table whose values are longer now.
        raise MisfitError(message) from None
      raise checkpoint_errors.of_reading(error, message) from None

  def _restore_all_but(
    self,
    session: tf.compat.v1.Session,
    path: str,
    misfits: Container[Any],
    others: Container[str],
  ) -> None:
    """Reads variable by variable: TensorFlow's saver knows only all of its own."""
    reader = _reader(path)
    for variable in self._variables:
      if variable.ref() not in misfits:
        name, part = _place(variable)
        _assign(session, variable, _read(reader, path, name)[part])
    for name, restorer in self._restorers_of_others.items():
      if name not in others:
        self._run_restorer(restorer, session, path)
      elif clearing := self._clearings_of_others[name]:
        session.run(clearing)
    # Last, and in the order in which they were made, because an initial value may be
    # made of variables made before.
    for variable in self._variables:
      if variable.ref() in misfits:
        session.run(variable.initializer)

  def _tell_of_lost(self, path: str, shapes: dict[str, list[int]]) -> None:
    known = {_place(v)[0] for v in self._variables}
    known.update(each.variable.op.name for each in self._of_job)
    known.update(spec.name for o in self._others for spec in o.specs)
    lost = sorted(shapes.keys() - known)
    if lost:
      progress_log.info(
        "%s has dense variables that the model does not, and that are left out: %s",
        path,
        ", ".join(lost),
      )

  def _restore_job(self, session: tf.compat.v1.Session, path: str) -> None:
    """Reads the variables of the job, as far as they fit."""
    reader = _reader(path)
    saved = _saved(reader)
    for variable, fit in self._of_job:
      name, shape = variable.op.name, variable.shape.as_list()
      dtype = variable.dtype.base_dtype
      is_of_dtype = saved.dtypes.get(name) == dtype
      if is_of_dtype and (fit or saved.shapes[name] == shape):
        value = _read(reader, path, name)
        _assign(session, variable, fit(value) if fit else value)
        continue
      if name in saved.shapes:
        what, there, here = "shape", saved.shapes[name], shape
        if not is_of_dtype:
          what, there, here = "dtype", saved.dtypes[name].name, dtype.name
        progress_log.info(
          "%s begins anew: it has %s %s in %s and %s in this job",
          name,
          what,
          there,
          path,
          here,
        )
      session.run(variable.initializer)

  def take_matching(self, session: tf.compat.v1.Session, path: str) -> int:
    """Reads the variables, or parts of one, that another model's files have with the
    same name, shape and dtype, but for the global step; returns how many.

    Raises:
      DamagedCheckpointError: a file is missing or damaged.
      StorageError: a file cannot be read.
    """
    reader = _reader(path)
    saved = _saved(reader)
    taken = 0
    for variable in self._variables:
      if variable is self._step or _misfit(variable, saved):
        continue
      name, part = _place(variable)
      _assign(session, variable, _read(reader, path, name)[part])
      taken += 1
    return taken


def _copy(variable: tf.Variable) -> tf.Variable:
  """A variable that takes the value of another when it is initialized."""
  with tf.device(None), tf.device(variable.device):
    return tf.compat.v1.Variable(
      variable.read_value(),
      trainable=False,
      collections=[],
      use_resource=True,
      name=f"{variable.op.name}_as_saved",
    )


def _by_name(variables: list[tf.Variable]) -> dict[str, Any]:
  """Variables by the names under which they are saved, the parts of one as a list."""
  by_name: dict[str, Any] = {}
  for variable in variables:
    name, part = _place(variable)
    if part is ...:
      by_name[name] = variable
    else:
      by_name.setdefault(name, []).append(variable)
  return by_name


def _place(variable: tf.Variable) -> tuple[str, tuple]:
  """The name under which a variable is saved, and which part of that it is."""
  part = getattr(variable, "_save_slice_info", None)
  if part is None:
    return variable.op.name, ...
  ends = [o + n for o, n in zip(part.var_offset, part.var_shape, strict=True)]
  return part.full_name, tuple(map(slice, part.var_offset, ends))


def _misfit(variable: tf.Variable, saved: _Saved) -> str:
  """Why a variable is not to be found among those in files; `""` if it is."""
  name, _ = _place(variable)
  part = getattr(variable, "_save_slice_info", None)
  shape = variable.shape if part is None else tf.TensorShape(part.full_shape)
  if name not in saved.shapes:
    return f"variable {name}, of shape {shape}, is not there"
  there, dtype = saved.dtypes[name].name, variable.dtype.base_dtype.name
  differences = []
  if not shape.is_compatible_with(saved.shapes[name]):
    differences.append(f"shape {saved.shapes[name]} there and {shape} in the model")
  if there != dtype:
    differences.append(f"dtype {there} there and {dtype} in the model")
  return f"variable {name} has {', '.join(differences)}" if differences else ""


def _misfit_of_other(saveable: Any, saved: _Saved) -> str:
  """The same of an object in the collection `SAVEABLE_OBJECTS`."""
  for spec in saveable.specs:
    if spec.name not in saved.dtypes:
      return f"{spec.name}, of object {saveable.name}, is not there"
    there, dtype = saved.dtypes[spec.name].name, spec.dtype.base_dtype.name
    if there != dtype:
      return f"{spec.name} has dtype {there} there and {dtype} in the model"
  return ""


def _clearing(saveable: Any) -> tf.Operation | None:
  """What empties a hash table of TensorFlow, which may have come from a checkpoint that
  turned out to be damaged. Of other objects nobody knows what they begin with."""
  table = saveable.op
  if not isinstance(table, tf.lookup.experimental.MutableHashTable):
    return None
  keys, _ = table.export()
  return table.remove(keys)


def _reader(path: str):
  try:
    return tf.train.load_checkpoint(path)
  except tf.errors.OpError as error:
    raise checkpoint_errors.of_reading(error, _unreadable(path, str(error))) from None
  except (RuntimeError, ValueError) as error:
    raise DamagedCheckpointError(_unreadable(path, str(error))) from None


def _saved(reader) -> _Saved:
  return _Saved(reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map())


def _read(reader, path: str, name: str) -> np.ndarray:
  """A variable's value in the files at a path."""
  try:
    return reader.get_tensor(name)
  except tf.errors.OpError as error:
    raise checkpoint_errors.of_reading(error, _unreadable(path, str(error))) from None
  except (IndexError, RuntimeError) as error:
    raise DamagedCheckpointError(_unreadable(path, str(error))) from None


def _assign(
  session: tf.compat.v1.Session, variable: tf.Variable, value: np.ndarray
) -> None:
  _, initial = variable.initializer.inputs
  session.run(variable.initializer, {initial: value})


def _unreadable(path: str, reason: str) -> str:
  return f"cannot restore {_files(path)}: {reason}"


def _files(path: str) -> str:
  return f"the dense variables ({path}.index, {path}.data-*)"
