"""What is in a checkpoint: a report for programs, and its text for people."""

import dataclasses
import heapq
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from monolith.native_training.checkpoint_tool.saved_checkpoint import SavedCheckpoint
from monolith.native_training.checkpoint_tool.table_records import Rows, Table
from monolith.native_training.training.checkpoints import checkpoint, checkpoint_errors
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)


class _Summary:
  """Of the rows of one table."""

  def __init__(self, most: int):
    self.rows = 0
    self.oldest = self.newest = None
    self._most = most
    self.largest: list[tuple[float, int]] = []  # norm and id, descending

  def add(self, rows: Rows) -> None:
    if not len(rows.ids):
      return
    self.rows += len(rows.ids)
    oldest, newest = int(rows.update_times.min()), int(rows.update_times.max())
    self.oldest = oldest if self.oldest is None else min(self.oldest, oldest)
    self.newest = newest if self.newest is None else max(self.newest, newest)
    # In float64, in which no float32 squared overflows.
    norms = np.linalg.norm(rows.embeddings.astype(np.float64), axis=1)
    top = np.argsort(-norms, kind="stable")[: self._most]
    both = [*self.largest, *((float(norms[i]), int(rows.ids[i])) for i in top)]
    self.largest = heapq.nlargest(self._most, both)


def inspect(
  saved: SavedCheckpoint,
  largest: int = 5,
  progress: Callable[[int], object] = lambda size: None,
) -> dict[str, Any]:
  """Reads a checkpoint and reports what is in it, as JSON's types.

  Args:
    saved: the checkpoint.
    largest: how many rows of the largest L2 norm to name.
    progress: see `SavedCheckpoint.rows`.

  Raises:
    ValueError: a file is damaged.
  """
  checkpoint.check_dense_files(saved.path)
  summaries = [_Summary(largest) for _ in saved.tables]
  for rows in saved.rows(progress=progress):
    summaries[rows.table].add(rows)
  return {
    "path": saved.path,
    "global_step": saved.manifest.global_step,
    "saved_at": saved.manifest.saved_at,
    "final": saved.manifest.final,
    "chain": [
      {
        "name": os.path.basename(link.path),
        "global_step": link.manifest.global_step,
        "saved_at": link.manifest.saved_at,
        "rows": link.manifest.rows,
        "erased": link.manifest.erased,
        "files": len(link.files),
        "bytes": link.file_bytes,
      }
      for link in saved.links
    ],
    "dense_variables": _dense_variables(saved),
    "tables": [
      _table(table, summary, trials)
      for table, summary, trials in zip(
        saved.tables, summaries, saved.trials(), strict=True
      )
    ],
  }


def _dense_variables(saved: SavedCheckpoint) -> list[dict[str, Any]]:
  if not saved.manifest.dense_files:
    return []
  try:
    reader = tf.train.load_checkpoint(saved.path)
    shapes = reader.get_variable_to_shape_map()
    types = reader.get_variable_to_dtype_map()
  except (RuntimeError, ValueError, tf.errors.OpError) as error:
    message = f"{saved.path}.index: cannot be read ({error})"
    if isinstance(error, tf.errors.OpError):
      raise checkpoint_errors.of_reading(error, message) from None
    raise DamagedCheckpointError(message) from None
  return [
    {
      "name": name,
      "dtype": types[name].name,
      "shape": shape,
      "bytes": int(np.prod(shape, dtype=np.int64)) * types[name].size,
    }
    for name, shape in sorted(shapes.items())
  ]


def _table(table: Table, summary: _Summary, trials: int) -> dict[str, Any]:
  return {
    "name": table.name,
    "rows": summary.rows,
    "bytes": summary.rows * table.row_bytes,
    "on_trial": trials,
    "occurrence_threshold": table.occurrence_threshold,
    "expire_time": table.expire_time,
    "segments": [dataclasses.asdict(segment) for segment in table.segments],
    "oldest_update": summary.oldest,
    "newest_update": summary.newest,
    "largest_norms": [{"id": i, "norm": norm} for norm, i in summary.largest],
  }


def text_of(report: dict[str, Any]) -> str:
  """The report of `inspect`, for people."""
  chain = report["chain"]
  lines = [
    f"{report['path']}",
    f"  global step {report['global_step']}, saved {_moment(report['saved_at'])}"
    + (", the end of training" if report["final"] else ""),
    f"  {chain[0]['name']}: all {chain[0]['rows']:,} rows, "
    f"{bytes_text(chain[0]['bytes'])} in {chain[0]['files']} files",
  ]
  lines += [
    f"  then {link['name']}: {link['rows']:,} changed rows and {link['erased']:,} "
    f"erased ids, {bytes_text(link['bytes'])} in {link['files']} files, saved "
    f"{_moment(link['saved_at'])}"
    for link in chain[1:]
  ]
  dense = report["dense_variables"]
  lines += ["", f"{len(dense)} dense variables, {_total(dense)}"]
  lines += [
    f"  {v['name']}: {v['dtype']} {v['shape']}, {bytes_text(v['bytes'])}" for v in dense
  ]
  tables = report["tables"]
  lines += ["", f"{len(tables)} tables, {_total(tables)}"]
  for table in tables:
    lines += _table_lines(table)
  return "\n".join(lines)


def _table_lines(table: dict[str, Any]) -> list[str]:
  lines = [f"  {table['name']}: {table['rows']:,} rows, {bytes_text(table['bytes'])}"]
  if table["occurrence_threshold"]:
    lines.append(
      f"    an id gets a row at its occurrence {table['occurrence_threshold']:,}; "
      f"at most {table['on_trial']:,} are on trial"
    )
  lines += [
    f"    slice {s['name']}: {s['dim']} floats + {s['state_dim']} of optimizer state; "
    f"{_component(s['optimizer'])}, {_component(s['initializer'])}, "
    f"{_component(s['compressor'])}"
    for s in table["segments"]
  ]
  if table["rows"]:
    lines.append(
      f"    updated {_moment(table['oldest_update'])} to "
      f"{_moment(table['newest_update'])}"
    )
    norms = (f"{row['id']} ({row['norm']:.4g})" for row in table["largest_norms"])
    lines.append(f"    largest norms: {', '.join(norms)}")
  return lines


def _component(config: dict[str, Any]) -> str:
  settings = (
    f"{name}={_component(value) if isinstance(value, dict) else format(value, 'g')}"
    for name, value in config.items()
    if name != "type"
  )
  return f"{config['type']}({', '.join(settings)})"


def _moment(seconds: int) -> str:
  return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _total(items: list[dict[str, Any]]) -> str:
  return bytes_text(sum(item["bytes"] for item in items))


def bytes_text(size: int) -> str:
  """A size with its unit."""
  for unit in ("bytes", "kB", "MB", "GB"):
    if size < 1000:
      return f"{size:.4g} {unit}"
    size /= 1000
  return f"{size:.4g} TB"
