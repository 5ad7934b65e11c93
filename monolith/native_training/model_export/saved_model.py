"""A checkpoint as an ordinary SavedModel, whose tables are assets.

Dense variables are saved as TensorFlow saves them; the files of rows are copied from
the checkpoint and read back when the model is loaded. A program that loads the model
needs the op library: call `monolith.native_training.runtime.ops.loader.ops()` first.
"""

import os
import time
from collections.abc import Sequence

import tensorflow as tf

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training import checkpoint as checkpoint_lib
from monolith.native_training.training import heads, model_graph, sound_checkpoint
from monolith.native_training.training.dense_variables import DenseVariables
from monolith.native_training.training.table_restore import TableCheck


def export(
  model: MonolithModel, checkpoints: Sequence[str], export_dir_base: str
) -> str:
  """Writes a SavedModel.

  Ids without a row read zeros. The signature `serving_default` takes the model's
  receiver tensors and gives each head's prediction under its name.

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
  """
  path = _new_folder(export_dir_base)
  temporary = os.path.join(export_dir_base, f".tmp-{os.path.basename(path)}")
  with tf.Graph().as_default():
    tf.compat.v1.train.get_or_create_global_step()
    receiver = _receiver(model)
    # Versions that one process has loaded side by side must not share tables.
    graph, signature = _build(
      model, receiver, tables_name=f"{model.p.name}/{os.path.basename(path)}"
    )
    with tf.compat.v1.Session() as session:
      checkpoint = _restore_dense(session, checkpoints, TableCheck(graph.embedding))
      builder = tf.compat.v1.saved_model.Builder(temporary)
      builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.SERVING],
        {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
        assets_collection=_table_assets(checkpoint),
        main_op=_restore_tables_on_load(graph),
        strip_default_attrs=True,
      )
      builder.save()
  tf.io.gfile.rename(temporary, path)
  return path


def keep_newest(export_dir_base: str, count: int) -> None:
  """Removes all exports of a folder but the newest."""
  names = [name.rstrip("/") for name in tf.io.gfile.listdir(export_dir_base)]
  exports = sorted((name for name in names if name.isdecimal()), key=int)
  for name in exports[:-count]:
    tf.io.gfile.rmtree(os.path.join(export_dir_base, name))


def check_exportable(model: MonolithModel) -> None:
  """Raises what `export` would for want of a `serving_input_receiver_fn`, or of one
  that has all that `model_fn` reads."""
  with tf.Graph().as_default():
    tf.compat.v1.train.get_or_create_global_step()
    _build(model, _receiver(model), model.p.name)


def _receiver(model: MonolithModel):
  receiver = model.serving_input_receiver_fn()
  if not hasattr(receiver, "receiver_tensors"):
    raise TypeError(
      f"serving_input_receiver_fn returned {type(receiver).__name__}, wanted a "
      "tf.estimator.export.ServingInputReceiver"
    )
  return receiver


def _build(model: MonolithModel, receiver, tables_name: str):
  """The model over what its receiver yields, and the signature of that."""
  graph = model_graph.build(
    model, receiver.features, tf.estimator.ModeKeys.PREDICT, tables_name=tables_name
  )
  signature = tf.compat.v1.saved_model.predict_signature_def(
    receiver.receiver_tensors,
    {head.name: head.pred for head in heads.heads_of(graph.spec)},
  )
  return graph, signature


def _new_folder(export_dir_base: str) -> str:
  """A name by the time, in seconds, that is not taken."""
  seconds = int(time.time())
  while tf.io.gfile.exists(os.path.join(export_dir_base, str(seconds))):
    seconds += 1
  return os.path.join(export_dir_base, str(seconds))


def _restore_dense(
  session: tf.compat.v1.Session, checkpoints: Sequence[str], tables: TableCheck
) -> str:
  """Restores the first checkpoint of which every file is sound; returns its path."""
  dense = DenseVariables()

  def restore(path: str) -> None:
    checkpoint_lib.check_dense_files(path)
    tables.check(path)
    dense.restore(session, path)

  checkpoint = sound_checkpoint.first_sound(checkpoints, restore)
  session.run(tf.compat.v1.local_variables_initializer())
  return checkpoint


def _table_assets(checkpoint: str) -> list[tf.Tensor]:
  """Constants that name the files of rows, which the builder copies and renames."""
  for name in checkpoint_lib.table_files(checkpoint):
    tf.compat.v1.add_to_collection(
      tf.compat.v1.GraphKeys.ASSET_FILEPATHS, tf.constant(name)
    )
  return tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS)


def _restore_tables_on_load(graph: model_graph.ModelGraph) -> tf.Operation:
  files = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS)
  restores = [
    loader.ops().monolith_restore_tables(
      handle, tf.stack(files), shard_index=0, num_shards=1, with_trials=False
    )
    for _, handle in graph.embedding.table_sets()
  ]
  return tf.group(
    *restores,
    tf.compat.v1.local_variables_initializer(),
    tf.compat.v1.tables_initializer(),
  )
