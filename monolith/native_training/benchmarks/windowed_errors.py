"""Errors of predictions over time, of several ways to predict the same ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def rmse_by_bucket(
  squared: np.ndarray, begin: int, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
  """Root mean squared errors of equally many ratings each.

  Args:
    squared: float `[n]`, squared errors in the order of time.
    begin: the first rating that counts.
    buckets: how many there are to be.

  Returns:
    The errors, float64 `[buckets]`, and where each bucket begins and the last one ends,
    int64 `[buckets + 1]`.

  Raises:
    ValueError: there are fewer ratings than buckets, or one was not predicted (NaN).
  """
  if len(squared) - begin < buckets:
    raise ValueError(
      f"{len(squared) - begin} ratings from {begin} on do not fill {buckets} buckets"
    )
  if np.isnan(squared[begin:]).any():
    raise ValueError(f"not all ratings from {begin} on were predicted")
  edges = np.linspace(begin, len(squared), buckets + 1).astype(np.int64)
  means = np.add.reduceat(squared, edges[:-1], dtype=np.float64) / np.diff(edges)
  return np.sqrt(means), edges


def table(
  rows: Mapping[str, Sequence[np.ndarray]], edges: np.ndarray
) -> list[list[str]]:
  """Mean and half the range over seeds, as text.

  Args:
    rows: by way, of each seed what `rmse_by_bucket` returned.
    edges: of the buckets.

  Returns:
    A header and one line a bucket, and last one of all buckets: all cells.
  """
  lines = [["ratings", *rows]]
  sizes = np.diff(edges)
  for i in range(len(sizes)):
    label = f"{edges[i]:,} - {edges[i + 1]:,}"
    lines.append([label, *(_cell([seed[i] for seed in r]) for r in rows.values())])
  together = [
    _cell([np.sqrt(np.average(np.square(seed), weights=sizes)) for seed in seeds])
    for seeds in rows.values()
  ]
  lines.append(["all", *together])
  return lines


def _cell(values: Sequence[float]) -> str:
  text = f"{np.mean(values):.3f}"
  spread = (max(values) - min(values)) / 2
  return f"{text} ± {spread:.3f}" if len(values) > 1 else text
