"""A checkpoint as an ordinary SavedModel, whose tables are assets.

Dense variables are saved as TensorFlow saves them; rows are compressed as their slices
say, and read when the model is loaded. A program that loads it needs the op library:
call `monolith.native_training.load_ops()` first.
"""

import os
import uuid

import tensorflow as tf

from monolith.native_training.model_export import (
  export_folder,
  exported_checkpoint,
  numbered_exports,
  signatures,
)
from monolith.native_training.model_export.abandonment import Abandonment
from monolith.native_training.model_export.table_assets import TableAssets
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.checkpoints import checkpoint as checkpoint_lib
from monolith.native_training.training.checkpoints import sound_checkpoint
from monolith.native_training.training.checkpoints.dense_variables import DenseVariables
from monolith.native_training.training.checkpoints.manifest import Manifest
from monolith.native_training.training.graph import model_graph


def export(
  model: MonolithModel,
  find_checkpoints: sound_checkpoint.Finder,
  export_dir_base: str,
  num_ps: int | None = None,
  abandonment: Abandonment | None = None,
) -> str:
  """Writes a SavedModel, or several.

  Ids without a row read zeros. The signature `serving_default` takes the model's
  receiver tensors and gives each head's prediction under its name; `signatures.build`
  tells of others.

  Args:
    model: defines `serving_input_receiver_fn`.
    find_checkpoints: returns paths, without suffix, the best first: another is used
      only when those before it are damaged. Is asked again where one was removed
      meanwhile. All of a checkpoint is read before it is exported.
    export_dir_base: the export goes into a new folder in here, named by the time.
    num_ps: None: one SavedModel has it all. Else the rows are spread over as many, the
      folders `ps_0` and so on, whose signature `lookup` gives the values that a
      request asks for; `entry` has the rest, see `signatures.build`.
    abandonment: ends the export early.

  Returns:
    Path of the new folder. It appears when it is complete.

  Raises:
    AllRefusedError: every checkpoint is damaged.
    MisfitError: one is of another model.
    StorageError: one cannot be read, or its rows cannot be written, several times.
    NotImplementedError: the model has no `serving_input_receiver_fn`.
    TypeError: that function returned something else.
    ValueError: the signatures do not fit together.
    ExportAbandonedError: that was asked for.
  """
  abandonment = abandonment or Abandonment()
  abandonment.check()

  def write(folder: str) -> None:
    with tf.Graph().as_default():
      tf.compat.v1.train.get_or_create_global_step()
      if num_ps is None:
        _write(model, find_checkpoints, folder, abandonment)
      else:
        _write_distributed(model, find_checkpoints, folder, num_ps, abandonment)
    abandonment.check()

  return export_folder.write(export_dir_base, write)


def _write(
  model: MonolithModel,
  find_checkpoints: sound_checkpoint.Finder,
  folder: str,
  abandonment: Abandonment,
) -> None:
  graph, named_signatures = _build(model)
  builder = tf.compat.v1.saved_model.Builder(folder)
  tables = TableAssets(graph.embedding, [_assets(folder)], abandonment)
  with tf.compat.v1.Session() as session:
    source = _restore_dense(session, find_checkpoints, tables, abandonment)
    handle = next((handle for _, handle in graph.embedding.table_sets()), None)
    _save(builder, session, named_signatures, tables.add_to_graph(0, handle))
  exported_checkpoint.write(folder, *source)


def _write_distributed(
  model: MonolithModel,
  find_checkpoints: sound_checkpoint.Finder,
  folder: str,
  num_ps: int,
  abandonment: Abandonment,
) -> None:
  graph, named_signatures = _build(model, num_ps)
  if not graph.embedding.requests:
    raise ValueError(
      "p.serving.export_mode: got 'distributed', but the model has no embeddings"
    )
  entry_folder = os.path.join(folder, numbered_exports.ENTRY)
  entry = tf.compat.v1.saved_model.Builder(entry_folder)
  folders = [os.path.join(folder, f"ps_{i}") for i in range(num_ps)]
  parts = [tf.compat.v1.saved_model.Builder(each) for each in folders]
  assets = [_assets(each) for each in folders]
  tables = TableAssets(graph.embedding, assets, abandonment)
  with tf.compat.v1.Session() as session:
    source = _restore_dense(session, find_checkpoints, tables, abandonment)
    _save(entry, session, named_signatures, tf.no_op())
  exported_checkpoint.write(entry_folder, *source)
  for i, part in enumerate(parts):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      handle = tables.table_set(name=uuid.uuid4().hex)
      load = tables.add_to_graph(i, handle)
      _save(part, session, signatures.of_tables(handle), load)


def _assets(folder: str) -> str:
  """Where a builder would copy a model's assets to."""
  return os.path.join(folder, tf.saved_model.ASSETS_DIRECTORY)


def _save(
  builder: tf.compat.v1.saved_model.Builder,
  session: tf.compat.v1.Session,
  named_signatures: signatures.Signatures,
  load: tf.Operation,
) -> None:
  builder.add_meta_graph_and_variables(
    session,
    [tf.saved_model.SERVING],
    named_signatures,
    assets_collection=tf.compat.v1.get_collection(
      tf.compat.v1.GraphKeys.ASSET_FILEPATHS
    ),
    main_op=tf.group(
      load,
      tf.compat.v1.local_variables_initializer(),
      tf.compat.v1.tables_initializer(),
    ),
    strip_default_attrs=True,
  )
  builder.save()


def check_exportable(model: MonolithModel) -> None:
  """Raises what `export` would for want of a `serving_input_receiver_fn`, or of one
  that has all that `model_fn` reads."""
  with tf.Graph().as_default():
    tf.compat.v1.train.get_or_create_global_step()
    _build(model)


def _build(
  model: MonolithModel, num_ps: int | None = None
) -> tuple[model_graph.ModelGraph, signatures.Signatures]:
  """The model over what its receivers yield, and the signatures of that."""
  receivers = signatures.receivers(model)
  graph = model_graph.build(
    model,
    receivers[signatures.DEFAULT].features,
    tf.estimator.ModeKeys.PREDICT,
    servers=[None] * (num_ps or 1),
    # Versions that one process has loaded side by side must not share tables.
    tables_name=uuid.uuid4().hex,
    exported=True,
  )
  return graph, signatures.build(graph, receivers, num_ps is not None)


def _restore_dense(
  session: tf.compat.v1.Session,
  find_checkpoints: sound_checkpoint.Finder,
  tables: TableAssets,
  abandonment: Abandonment,
) -> tuple[str, Manifest]:
  """Restores the first checkpoint of which every file is sound, and writes its tables.
  Returns its path, and what its manifest says."""
  dense = DenseVariables()
  contents = {}

  def restore(path: str) -> None:
    contents[path] = checkpoint_lib.read_manifest(path)
    checkpoint_lib.check_dense_files(path)
    tables.write(path)
    dense.restore(session, path)

  path = sound_checkpoint.first_sound(
    find_checkpoints(), restore, find_checkpoints, abandonment.sleep
  ).path
  session.run(tf.compat.v1.local_variables_initializer())
  return path, contents[path]
