"""How fast rows are saved and restored, beside the storage itself, and what that does
to training meanwhile.

Fills a table with Adagrad's state on parameter servers, as processes of this machine.
Then, in turns: saves all rows, and lets dd write as many bytes and flush them to
storage; restores them, and lets dd read the same files, each with nothing of them in
memory; trains without and beside a save; and saves what has changed after some rows
were trained. Prints medians and ranges; --json=FILE writes all figures.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training.benchmarks.checkpoint_rows import CheckpointRows
from monolith.native_training.local_runner.local_cluster import (
  local_cluster,
  python_environment,
)
from monolith.native_training.local_runner.local_processes import LocalProcesses
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.training.processes.cluster import Cluster

_ROWS = flags.DEFINE_integer("rows", 10_000_000, "Rows.", lower_bound=1000)
_DIM = flags.DEFINE_integer("dim", 32, "Floats of a row.", lower_bound=1)
_NUM_PS = flags.DEFINE_integer("num_ps", 2, "Parameter servers.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 4096, "Ids of a training step.", lower_bound=1)
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Turns of each.", lower_bound=1)
_THRESHOLD = flags.DEFINE_integer(
  "occurrence_threshold",
  0,
  "Of the rows; 2 or more: as many ids again are on trial, and before an increment as "
  "many of these occur as rows are trained. Some get their row if it is low.",
  lower_bound=0,
)
_TOUCHED = flags.DEFINE_float("touched", 0.01, "Part of the rows before an increment.")
_FOLDER = flags.DEFINE_string(
  "folder", "", "Where to write. Empty: a new temporary folder."
)
_JSON = flags.DEFINE_string("json", "", "Also write the figures to this file, as JSON.")
_STEP_SECONDS = 5.0
_SETTLE_SECONDS = 3.0

Figures = dict[str, list[float]]


def main(argv: Sequence[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  folder = tempfile.mkdtemp(prefix="monolith-checkpoint-", dir=_FOLDER.value or None)
  try:
    with StopSignals() as signals, LocalProcesses(_show) as processes:
      figures = _measure(folder, processes, signals)
  except Stopped as stop:
    return 128 + stop.signum
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  print(_as_text(figures))
  if _JSON.value:
    with open(_JSON.value, "w") as file:
      json.dump({"flags": _flag_values(), "figures": figures}, file, indent=2)
  return 0


def _show(name: str, line: str) -> None:
  if "rror" in line:
    print(f"{name}: {line}", file=sys.stderr)


def _flag_values() -> dict[str, float]:
  return {f.name: f.value for f in (_ROWS, _DIM, _NUM_PS, _BATCH, _TOUCHED, _THRESHOLD)}


def _measure(folder: str, processes: LocalProcesses, signals: StopSignals) -> Figures:
  environment = python_environment()
  *servers, worker = local_cluster(_NUM_PS.value, 1)
  for task in servers:
    command = [sys.executable, "-m", "monolith.native_training.benchmarks.bare_server"]
    processes.start(task.name, command, {**environment, "TF_CONFIG": task.tf_config})
  cluster = Cluster.from_config(worker.tf_config)
  server = tf.distribute.Server(cluster.spec(), job_name="worker", task_index=0)
  figures: Figures = {}

  def note(name: str, value: float) -> None:
    figures.setdefault(name, []).append(value)
    print(f"  {name}: {value:,.3f}", file=sys.stderr, flush=True)
    signals.check()
    processes.check()

  with tf.Graph().as_default():
    rows = CheckpointRows(
      cluster, server.target, _DIM.value, _THRESHOLD.value, on_trial=_ROWS.value
    )
    begin = time.monotonic()
    rows.fill(_ROWS.value)
    if _THRESHOLD.value:
      rows.put_on_trial(np.arange(_ROWS.value, 2 * _ROWS.value))
    count, _ = rows.stats()
    note("rows", count)
    note("fill seconds", time.monotonic() - begin)
    for turn in range(_REPETITIONS.value):
      _turn(rows, folder, turn, note)
  return figures


def _turn(rows: CheckpointRows, folder: str, turn: int, note) -> None:
  step = 10 * (turn + 1)
  # Before dd: storage may be busy long after that with what it was given.
  os.sync()
  _train_for(rows, _SETTLE_SECONDS)
  note_steps(note, "alone", _train_for(rows, _STEP_SECONDS))
  saving = threading.Thread(target=rows.save_all, args=(folder, step))
  begin = time.monotonic()
  saving.start()
  durations = []
  while saving.is_alive():
    durations.append(rows.train_some(_BATCH.value))
  note("save seconds beside steps", time.monotonic() - begin)
  note_steps(note, "beside a save", durations)

  begin = time.monotonic()
  path = rows.save_all(folder, step + 1)
  seconds = time.monotonic() - begin
  note("save seconds", seconds)
  files = glob.glob(f"{path}.tables/*")
  size = sum(os.path.getsize(name) for name in files)
  note("save MB/s", size / seconds / 1e6)
  note("bytes", size)
  note("dd write MB/s", size / _dd_write(os.path.join(folder, "dd"), size) / 1e6)

  full_seconds = _seconds(lambda: rows.save_all(folder, step + 2))
  before = rows.stats()[0]
  draw = np.random.default_rng(turn)
  for increment_step in (step + 3, step + 4):
    touched = draw.choice(_ROWS.value, int(_ROWS.value * _TOUCHED.value), replace=False)
    rows.train(touched)
    if _THRESHOLD.value:
      rows.put_on_trial(touched + _ROWS.value)
    begin = time.monotonic()
    increment = rows.save(folder, increment_step)
    # Of the second one: with the first, an older checkpoint of all rows is removed.
    seconds = time.monotonic() - begin
    assert rows.is_increment(increment)
  increment_size = sum(
    os.path.getsize(name) for name in glob.glob(f"{increment}.tables/*")
  )
  note("increment seconds", seconds)
  note("increment seconds / all", seconds / full_seconds)
  note("increment bytes / all", increment_size / size)

  files = glob.glob(f"{folder}/model.ckpt-{step + 2}.tables/*")
  _forget(files)
  seconds = _seconds(lambda: [_dd_read(name) for name in files])
  note("dd read MB/s", size / seconds / 1e6)
  _forget(files)
  rows.clear()
  seconds = _seconds(lambda: rows.restore(f"{folder}/model.ckpt-{step + 2}"))
  note("restore MB/s", size / seconds / 1e6)
  assert rows.stats()[0] == before


def _seconds(work) -> float:
  begin = time.monotonic()
  work()
  return time.monotonic() - begin


def _train_for(rows: CheckpointRows, seconds: float) -> list[float]:
  """Durations of the steps."""
  end = time.monotonic() + seconds
  durations = []
  while time.monotonic() < end:
    durations.append(rows.train_some(_BATCH.value))
  return durations


def note_steps(note, how: str, durations: list[float]) -> None:
  note(f"median step {how}, ms", 1e3 * statistics.median(durations))
  note(f"longest step {how}, ms", 1e3 * max(durations))


def _dd_write(path: str, size: int) -> float:
  """Seconds to write zeros and flush them to storage."""
  count = -(-size // (4 << 20))
  seconds = _seconds(
    lambda: subprocess.run(
      ["dd", "if=/dev/zero", f"of={path}", "bs=4M", f"count={count}", "conv=fsync"],
      check=True,
      stderr=subprocess.DEVNULL,
    )
  )
  os.remove(path)
  return seconds


def _dd_read(path: str) -> None:
  subprocess.run(
    ["dd", f"if={path}", "of=/dev/null", "bs=4M"], check=True, stderr=subprocess.DEVNULL
  )


def _forget(files: Sequence[str]) -> None:
  """Takes files out of the system's memory."""
  for name in files:
    with open(name, "rb") as file:
      os.fsync(file.fileno())
      os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _as_text(figures: Figures) -> str:
  median = {name: statistics.median(values) for name, values in figures.items()}
  lines = [
    f"{_ROWS.value:,} rows of dim {_DIM.value} with Adagrad's state, "
    f"occurrence_threshold {_THRESHOLD.value}, {_NUM_PS.value} servers, "
    f"{os.cpu_count()} cores; medians of {_REPETITIONS.value} turns"
  ]
  for name, values in figures.items():
    extent = f"{min(values):,.3f} - {max(values):,.3f}"
    lines.append(f"  {name:34}{median[name]:18,.3f}   {extent}")
  for ours, peer in (
    ("save MB/s", "dd write MB/s"),
    ("restore MB/s", "dd read MB/s"),
    ("median step beside a save, ms", "median step alone, ms"),
  ):
    lines.append(f"  {ours} / {peer}: {median[ours] / median[peer]:.2f}")
  return "\n".join(lines)


if __name__ == "__main__":
  app.run(main)
