"""Real ratings in memory: ids and labels as NumPy columns, split into train and test.

Hashing and splitting happen once for all processes of a machine that share a folder:
the first one to come prepares it, the others wait and read.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.local_files.file_lock import locked
from monolith.native_training.movie_ranking import rating_split, ratings

_FORMAT = 1
_INFO = "ratings.json"


class RatingColumns(NamedTuple):
  """`users`, `movies`: int64 `[n]`, hashed ids; `ratings`: float32 `[n]`, stars."""

  users: np.ndarray
  movies: np.ndarray
  ratings: np.ndarray

  def take(self, rows) -> RatingColumns:
    return RatingColumns(*(column[rows] for column in self))


class RatingTable(NamedTuple):
  """`train` and `test` ratings of the MovieLens data set called `size`."""

  size: str
  train: RatingColumns
  test: RatingColumns


def load_rating_table(size: str, folder: str = "") -> RatingTable:
  """All ratings of a data set, in the order they came in.

  Args:
    size: `100k`, `1m` or `25m`.
    folder: where prepared columns are kept for other processes and for the next run;
      `""` keeps none.

  Returns:
    The ratings. `table.size` differs from `size` where MovieLens cannot be had.

  Raises:
    ValueError: the folder holds another data set.
    FileNotFoundError: as `ratings.load_ratings`.
  """
  if not folder:
    return _prepare(size)
  path = pathlib.Path(folder)
  path.parent.mkdir(parents=True, exist_ok=True)
  with locked(f"{path}.lock"):
    if not (path / _INFO).exists():
      _write(_prepare(size), size, path)
    return _read(path, size)


def _prepare(size: str) -> RatingTable:
  source, columns = _collect(size)
  held_out = rating_split.is_held_out(columns.users, columns.movies)
  return RatingTable(source, columns.take(~held_out), columns.take(held_out))


def _collect(size: str) -> tuple[str, RatingColumns]:
  """Runs the dataset of ratings; in a graph of its own, so from within graphs too."""
  batches: list[RatingColumns] = []
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    source = ratings.load_rating_batches(size)
    batch = tf.compat.v1.data.make_one_shot_iterator(
      source.batches.map(ratings.hash_ids)
    ).get_next()
    while True:
      try:
        row = session.run(batch)
      except tf.errors.OutOfRangeError:
        break
      batches.append(
        RatingColumns(row["uid"].ravel(), row["mov"].ravel(), row["label"].ravel())
      )
  return source.size, RatingColumns(*map(np.concatenate, zip(*batches, strict=True)))


def _write(table: RatingTable, asked_for: str, folder: pathlib.Path) -> None:
  """Writes the folder under another name first: it is either whole or not there."""
  partial = pathlib.Path(
    tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent)
  )
  info = {"format": _FORMAT, "asked_for": asked_for, "size": table.size}
  try:
    for split in ("train", "test"):
      columns: RatingColumns = getattr(table, split)
      info[split] = len(columns.ratings)
      for name, column in columns._asdict().items():
        np.save(partial / f"{split}-{name}.npy", column)
    (partial / _INFO).write_text(json.dumps(info) + "\n")
    os.rename(partial, folder)  # Which may exist if it is empty.
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise


def _read(folder: pathlib.Path, size: str) -> RatingTable:
  info = json.loads((folder / _INFO).read_text())
  if info.get("format") != _FORMAT or size not in (info["asked_for"], info["size"]):
    raise ValueError(
      f"{folder} holds other ratings than {size} in format {_FORMAT}: {info}; remove "
      "it or name another folder"
    )
  logging.info("MovieLens %s ratings from %s", info["size"], folder)

  def read(split: str) -> RatingColumns:
    return RatingColumns(
      *(
        np.load(folder / f"{split}-{name}.npy", mmap_mode="r")
        for name in RatingColumns._fields
      )
    )

  return RatingTable(info["size"], read("train"), read("test"))
