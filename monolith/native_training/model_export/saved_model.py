"""A checkpoint as an ordinary SavedModel, whose tables are assets.

Dense variables are saved as TensorFlow saves them; rows are compressed as their slices
say, and read when the model is loaded. A program that loads it needs the op library:
call `monolith.native_training.load_ops()` first.
"""

import os
import time
import uuid
from collections.abc import Sequence

import tensorflow as tf

from monolith.native_training.model_export import signatures
from monolith.native_training.model_export.table_assets import TableAssets
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import checkpoint as checkpoint_lib
from monolith.native_training.training import model_graph, sound_checkpoint
from monolith.native_training.training.dense_variables import DenseVariables

_TEMPORARY = ".tmp-"
# What another process has been writing for longer is what is left of it.
_ABANDONED_SECS = 24 * 3600


def export(
  model: MonolithModel, checkpoints: Sequence[str], export_dir_base: str
) -> str:
  """Writes a SavedModel.

  Ids without a row read zeros. The signature `serving_default` takes the model's
  receiver tensors and gives each head's prediction under its name; `signatures.build`
  tells of others.

  Args:
    model: defines `serving_input_receiver_fn`.
    checkpoints: paths, without suffix, the best first: another is used only when those
      before it are damaged. All of a checkpoint is read before it is exported.
    export_dir_base: the export goes into a new folder in here, named by the time.

  Returns:
    Path of the new folder. It appears when it is complete.

  Raises:
    AllRefusedError: every checkpoint is damaged.
    MisfitError: one is of another model.
    StorageError: one cannot be read.
    NotImplementedError: the model has no `serving_input_receiver_fn`.
    TypeError: that function returned something else.
    ValueError: the signatures do not fit together.
  """
  path, temporary = _new_folders(export_dir_base)
  try:
    with tf.Graph().as_default():
      _write(model, checkpoints, temporary)
    tf.io.gfile.rename(temporary, path)
  except BaseException:
    if tf.io.gfile.exists(temporary):
      tf.io.gfile.rmtree(temporary)
    raise
  return path


def _write(model: MonolithModel, checkpoints: Sequence[str], folder: str) -> None:
  tf.compat.v1.train.get_or_create_global_step()
  # Versions that one process has loaded side by side must not share tables.
  graph, named_signatures = _build(model, tables_name=uuid.uuid4().hex)
  builder = tf.compat.v1.saved_model.Builder(folder)
  # Where the builder would copy assets to.
  tables = TableAssets(graph.embedding, os.path.join(folder, "assets"))
  with tf.compat.v1.Session() as session:
    _restore_dense(session, checkpoints, tables)
    main_op = tf.group(
      tables.add_to_graph(),
      tf.compat.v1.local_variables_initializer(),
      tf.compat.v1.tables_initializer(),
    )
    builder.add_meta_graph_and_variables(
      session,
      [tf.saved_model.SERVING],
      named_signatures,
      assets_collection=tf.compat.v1.get_collection(
        tf.compat.v1.GraphKeys.ASSET_FILEPATHS
      ),
      main_op=main_op,
      strip_default_attrs=True,
    )
    builder.save()


def keep_newest(export_dir_base: str, count: int) -> None:
  """Removes all exports of a folder but the newest, and what is left of those that
  were interrupted."""
  names = [name.rstrip("/") for name in tf.io.gfile.listdir(export_dir_base)]
  removed = sorted((name for name in names if name.isdecimal()), key=int)[:-count]
  for name in names:
    began = name[len(_TEMPORARY) :]
    if name.startswith(_TEMPORARY) and began.isdecimal():
      if int(began) < time.time() - _ABANDONED_SECS:
        removed.append(name)
  for name in removed:
    tf.io.gfile.rmtree(os.path.join(export_dir_base, name))


def check_exportable(model: MonolithModel) -> None:
  """Raises what `export` would for want of a `serving_input_receiver_fn`, or of one
  that has all that `model_fn` reads."""
  with tf.Graph().as_default():
    tf.compat.v1.train.get_or_create_global_step()
    _build(model, model.p.name)


def _build(
  model: MonolithModel, tables_name: str
) -> tuple[model_graph.ModelGraph, signatures.Signatures]:
  """The model over what its receivers yield, and the signatures of that."""
  receivers = signatures.receivers(model)
  graph = model_graph.build(
    model,
    receivers[signatures.DEFAULT].features,
    tf.estimator.ModeKeys.PREDICT,
    tables_name=tables_name,
    exported=True,
  )
  return graph, signatures.build(graph, receivers)


def _new_folders(export_dir_base: str) -> tuple[str, str]:
  """A name by the time, in seconds, that is not taken, and one to write to before."""
  seconds = int(time.time())
  while True:
    path, temporary = (
      os.path.join(export_dir_base, f"{prefix}{seconds}") for prefix in ("", _TEMPORARY)
    )
    if not tf.io.gfile.exists(path) and not tf.io.gfile.exists(temporary):
      return path, temporary
    seconds += 1


def _restore_dense(
  session: tf.compat.v1.Session, checkpoints: Sequence[str], tables: TableAssets
) -> None:
  """Restores the first checkpoint of which every file is sound, and writes its
  tables."""
  dense = DenseVariables()

  def restore(path: str) -> None:
    checkpoint_lib.check_dense_files(path)
    tables.write(path)
    dense.restore(session, path)

  sound_checkpoint.first_sound(checkpoints, restore)
  session.run(tf.compat.v1.local_variables_initializer())
