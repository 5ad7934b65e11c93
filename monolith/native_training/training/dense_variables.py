"""The dense variables of a checkpoint, in TensorFlow's own format."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training import progress_log

# A graph collection of `JobVariable`.
OF_THE_JOB = "monolith_variables_of_the_job"


class JobVariable(NamedTuple):
  """A global variable that describes the job, not the model. A job of another layout
  has it in another shape, and none has it for a start.

  Attributes:
    variable: it.
    fit: makes of a checkpoint's value one for this job; None takes it where its shape
      is the same.
  """

  variable: tf.Variable
  fit: Callable[[np.ndarray], np.ndarray] | None = None

  @property
  def name(self) -> str:
    """By which TensorFlow writes the collection into summaries."""
    return self.variable.name


_SERVER_IS_AWAY = (tf.errors.AbortedError, tf.errors.UnavailableError)


class DenseVariables:
  """Saves and restores the default graph's global variables.

  Those in the collection `OF_THE_JOB` get their initial values where a checkpoint lacks
  them or has them in another shape.

  Errors name the checkpoint's files: PATH.index and PATH.data-*.
  """

  def __init__(self):
    self._saver = tf.compat.v1.train.Saver(
      max_to_keep=None, save_relative_paths=True, sharded=True
    )
    self._step = tf.compat.v1.train.get_global_step()
    # Where there is none, as in another thread, TensorFlow's saver takes its variables
    # for eager ones.
    self._graph = tf.compat.v1.get_default_graph()
    self._of_job = tf.compat.v1.get_collection(OF_THE_JOB)
    of_job = {each.variable.ref() for each in self._of_job}
    self._variables = [
      v for v in tf.compat.v1.global_variables() if v.ref() not in of_job
    ]
    self._restorer = self._saver
    if of_job:
      others = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVEABLE_OBJECTS)
      self._restorer = tf.compat.v1.train.Saver(
        [*self._variables, *others], max_to_keep=None, sharded=True
      )

  def save(self, session: tf.compat.v1.Session, path: str) -> None:
    """Writes the files.

    Raises:
      tf.errors.OpError: they cannot be written.
    """
    try:
      with self._graph.as_default():
        self._saver.save(session, path, write_meta_graph=False, write_state=False)
    except tf.errors.OpError as error:
      message = f"cannot save {_files(path)}: {core_errors.sentence_of(error)}"
      raise type(error)(error.node_def, None, message) from None

  def restore(self, session: tf.compat.v1.Session, path: str) -> None:
    """Reads the files.

    Raises:
      ValueError: a file is missing or damaged, or does not fit the model.
    """
    self._check_fit(path)
    try:
      with self._graph.as_default():
        self._restorer.restore(session, path)
    except _SERVER_IS_AWAY:
      raise
    except tf.errors.OpError as error:
      raise _unreadable(path, core_errors.sentence_of(error)) from None
    self._restore_job(session, path)

  def _restore_job(self, session: tf.compat.v1.Session, path: str) -> None:
    """Reads the variables of the job, as far as they fit."""
    shapes = _reader(path).get_variable_to_shape_map()
    for variable, fit in self._of_job:
      name, shape = variable.op.name, variable.shape.as_list()
      if fit and name in shapes:
        _assign(session, variable, fit(_read(path, name)))
        continue
      if shapes.get(name) == shape:
        _assign(session, variable, _read(path, name))
        continue
      if name in shapes:
        progress_log.info(
          "%s begins anew: it has shape %s in %s and %s in this job",
          name,
          shapes[name],
          path,
          shape,
        )
      session.run(variable.initializer)

  def take_matching(self, session: tf.compat.v1.Session, path: str) -> int:
    """Reads the variables that another model's files have with the same name and shape,
    but for the global step; returns how many.

    Raises:
      ValueError: a file is missing or damaged.
    """
    shapes = _reader(path).get_variable_to_shape_map()
    taken = 0
    for variable in self._variables:
      name = variable.op.name
      if variable is self._step or shapes.get(name) != variable.shape.as_list():
        continue
      _assign(session, variable, _read(path, name))
      taken += 1
    return taken

  def _check_fit(self, path: str) -> None:
    """TensorFlow says at length what is missing, and nothing of another shape."""
    shapes = _reader(path).get_variable_to_shape_map()
    problems = []
    for variable in self._variables:
      if getattr(variable, "_save_slice_info", None) is not None:
        continue  # Part of a variable, saved under the whole one's name.
      name = variable.op.name
      if name not in shapes:
        problems.append(f"variable {name} is not there")
      elif not variable.shape.is_compatible_with(shapes[name]):
        problems.append(
          f"variable {name} has shape {shapes[name]} there and {variable.shape} in the "
          "model"
        )
    if problems:
      raise ValueError(f"{path}.index does not fit the model: {'; '.join(problems)}")


def _reader(path: str):
  try:
    return tf.train.load_checkpoint(path)
  except (RuntimeError, ValueError, tf.errors.OpError) as error:
    raise _unreadable(path, str(error)) from None


def _read(path: str, name: str) -> np.ndarray:
  """A variable's value in the files."""
  try:
    return _reader(path).get_tensor(name)
  except (IndexError, RuntimeError, tf.errors.OpError) as error:
    raise _unreadable(path, str(error)) from None


def _assign(
  session: tf.compat.v1.Session, variable: tf.Variable, value: np.ndarray
) -> None:
  _, initial = variable.initializer.inputs
  session.run(variable.initializer, {initial: value})


def _unreadable(path: str, reason: str) -> ValueError:
  return ValueError(f"cannot restore {_files(path)}: {reason}")


def _files(path: str) -> str:
  return f"the dense variables ({path}.index, {path}.data-*)"
