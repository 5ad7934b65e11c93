"""MovieLens ratings in the order in which people gave them."""

from __future__ import annotations

import collections

import numpy as np
import tensorflow as tf

from monolith.native_training.movie_ranking import rating_split, ratings


def ratings_by_time(size: str, held_out: bool) -> dict[str, np.ndarray]:
  """Ratings in the order of their timestamps.

  Args:
    size: `100k`, `1m` or `25m`.
    held_out: whether those that evaluation keeps for itself are among them.

  Returns:
    `mov`, `uid`: int64 `[n]`; `label`: float32 `[n]`; `timestamp`: int64 `[n]`, seconds
    since the epoch, rising.
  """
  columns = collections.defaultdict(list)
  for batch in ratings.load_rating_batches(size).batches:
    row = {**ratings.hash_ids(batch), "timestamp": batch["timestamp"]}
    for name, values in row.items():
      columns[name].append(tf.reshape(values, [-1]).numpy())
  table = {name: np.concatenate(parts) for name, parts in columns.items()}
  if not held_out:
    kept = ~rating_split.is_held_out(table["uid"], table["mov"])
    table = {name: column[kept] for name, column in table.items()}
  order = np.argsort(table["timestamp"], kind="stable")
  return {name: column[order] for name, column in table.items()}
