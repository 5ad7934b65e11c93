"""What an exported model takes: seconds, bytes on disk, and memory of a server.

tools/bazel run -c opt //monolith/native_training/benchmarks:export_benchmark -- \
    --ids=1000000

Trains a model with one table on each id once, exports it, and loads the export in
another process, which looks all ids up once.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training import entry, load_ops
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

_IDS = flags.DEFINE_integer("ids", 1_000_000, "How many ids the table has.")
_DIM = flags.DEFINE_integer("dim", 32, "Floats of a row.")
_COMPRESSOR = flags.DEFINE_enum(
  "compressor", "fp16", ["fp32", "fp16", "fixed_r8", "one_bit"], "Of the rows."
)
_LOAD = flags.DEFINE_string("load", "", "Load this export and tell its memory.")

_BATCH = 20_000
_COMPRESSORS = {
  "fp32": entry.Fp32Compressor,
  "fp16": entry.Fp16Compressor,
  "fixed_r8": entry.FixedR8Compressor,
  "one_bit": entry.OneBitCompressor,
}


def _id_batches() -> tf.data.Dataset:
  # An odd factor makes each number another id, far from each other.
  ids = tf.data.Dataset.range(_IDS.value).batch(_BATCH)
  return ids.map(lambda n: {"id": (n * 0x5851F42D4C957F2D)[:, None]})


class OneTable(MonolithModel):
  def input_fn(self, mode):
    return _id_batches()

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("id")
    compressor = _COMPRESSORS[_COMPRESSOR.value]()
    (vec,) = self.lookup_embedding_slice(
      ["id"], "vec", _DIM.value, compressor=compressor
    )
    pred = tf.reduce_sum(vec, axis=1)
    return EstimatorSpec(label=pred, pred=pred, loss=tf.reduce_mean(tf.square(pred)))

  def serving_input_receiver_fn(self):
    ids = {"id": tf.compat.v1.placeholder(tf.int64, [None, 1])}
    return tf.estimator.export.ServingInputReceiver(ids, ids)


def _bytes_in(folder: str) -> int:
  return sum(
    os.path.getsize(os.path.join(path, name))
    for path, _, names in os.walk(folder)
    for name in names
  )


def _resident_bytes() -> int:
  with open("/proc/self/statm", encoding="ascii") as file:
    return int(file.read().split()[1]) * resource.getpagesize()


def _load(path: str) -> None:
  load_ops()
  batches = [batch["id"] for batch in _id_batches().as_numpy_iterator()]
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    session.run(tf.constant(0))
    before, begin = _resident_bytes(), time.monotonic()
    model = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], path)
    secs, loaded = time.monotonic() - begin, _resident_bytes() - before
    signature = model.signature_def["serving_default"]
    run = session.make_callable(
      signature.outputs["default"].name, [signature.inputs["id"].name]
    )
    begin = time.monotonic()
    found = sum(np.count_nonzero(run(ids)) for ids in batches)
    looked_up = time.monotonic() - begin
  print(f"load                {secs:8.2f} s")
  print(f"memory of a server  {loaded / _IDS.value:8.1f} bytes an id")
  print(f"look all ids up     {looked_up:8.2f} s, {found} give other than 0")


def main(_) -> None:
  if _LOAD.value:
    _load(_LOAD.value)
    return
  with tempfile.TemporaryDirectory() as folder:
    job = Estimator(OneTable.params().instantiate(), RunnerConfig(model_dir=folder))
    job.train()
    checkpoint = _bytes_in(f"{job.latest_checkpoint()}.tables")
    begin = time.monotonic()
    path = job.export_saved_model()
    print(f"export              {time.monotonic() - begin:8.2f} s")
    print(f"checkpoint's rows   {checkpoint / _IDS.value:8.1f} bytes an id")
    print(f"export on disk      {_bytes_in(path) / _IDS.value:8.1f} bytes an id")
    sys.stdout.flush()
    subprocess.run([sys.executable, *sys.argv, f"--load={path}"], check=True)


if __name__ == "__main__":
  app.run(main)
