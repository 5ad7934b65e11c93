"""The real MovieLens-100k ratings that the PyPI package `recbole` carries.

For machines that reach a package index but not MovieLens itself. Only the two data
files of the package are read; `recbole` is never imported, and none of its
dependencies is needed.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
from typing import NamedTuple

import numpy as np

PACKAGE = "recbole"
PACKAGE_VERSION = "1.2.1"
_FOLDER = "recbole/dataset_example/ml-100k"
_RATING_COLUMNS = ("user_id", "item_id", "rating", "timestamp")


class Ratings(NamedTuple):
  """Columns, in the order of the source; strings apart, each once.

  `titles`: of the movies, UTF-8, with the year: `Toy Story (1995)`.
  `users`: the users' ids, decimal numbers.
  `title_of_rating`, `user_of_rating`: int64 `[n]`, positions in those two.
  `stars`: float32 `[n]`, 1 to 5.
  `timestamps`: int64 `[n]`, seconds since 1970.
  """

  titles: list[bytes]
  users: list[bytes]
  title_of_rating: np.ndarray
  user_of_rating: np.ndarray
  stars: np.ndarray
  timestamps: np.ndarray


def read_movielens_100k() -> Ratings:
  """Reads the 100,000 ratings.

  Returns:
    The ratings, with titles spelled as MovieLens spells them.

  Raises:
    FileNotFoundError: the package or one of its two files is missing.
    ValueError: a file is not what it should be; the message names it.
  """
  title_of_item = _read_titles(_file("ml-100k.item"))
  path = _file("ml-100k.inter")
  users, items, stars, timestamps = _read_numbers(path, _RATING_COLUMNS)
  user_ids, user_of_rating = np.unique(users.astype(np.int64), return_inverse=True)
  item_ids, item_of_rating = np.unique(items.astype(np.int64), return_inverse=True)
  unknown = sorted(set(item_ids.tolist()) - title_of_item.keys())
  if unknown:
    raise ValueError(f"{path} rates movies that its .item file lacks: {unknown[:5]}")
  return Ratings(
    titles=[title_of_item[item].encode() for item in item_ids.tolist()],
    users=[str(user).encode() for user in user_ids.tolist()],
    title_of_rating=item_of_rating.astype(np.int64),
    user_of_rating=user_of_rating.astype(np.int64),
    stars=stars.astype(np.float32),
    timestamps=timestamps.astype(np.int64),
  )


def _read_titles(path: pathlib.Path) -> dict[int, str]:
  lines = path.read_text(encoding="utf-8").splitlines()
  columns = _positions(path, lines[0], ("item_id", "movie_title", "release_year"))
  titles = {}
  for number, line in enumerate(lines[1:], start=2):
    fields = line.split("\t")
    try:
      item, title, year = (fields[column] for column in columns)
      titles[int(item)] = _movielens_title(title, year)
    except (IndexError, ValueError):
      raise ValueError(f"{path}, line {number}: cannot be read: {line!r}") from None
  return titles


def _movielens_title(title: str, year: str) -> str:
  """Puts together what the package split: title and year in parentheses."""
  # One movie of MovieLens has neither title nor year: "unknown", misspelled here.
  return "unknown" if title == "unkonwn" else f"{title} ({year})"


def _read_numbers(path: pathlib.Path, names: tuple[str, ...]) -> np.ndarray:
  """Columns of a tab-separated file of numbers: float64 `[len(names), n]`."""
  with path.open(encoding="utf-8") as lines:
    columns = _positions(path, lines.readline(), names)
    try:
      return np.loadtxt(lines, delimiter="\t", usecols=columns, unpack=True, ndmin=2)
    except ValueError as error:
      raise ValueError(f"{path} cannot be read: {error}") from None


def _positions(path: pathlib.Path, header: str, names: tuple[str, ...]) -> list[int]:
  """Where the named columns are, by a header of `name:type` fields."""
  found = [field.partition(":")[0] for field in header.rstrip("\n").split("\t")]
  missing = [name for name in names if name not in found]
  if missing:
    raise ValueError(f"{path} has no column {missing}; its columns are {found}")
  return [found.index(name) for name in names]


def _file(name: str) -> pathlib.Path:
  hint = f"install it with: pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"
  try:
    package = importlib.metadata.distribution(PACKAGE)
  except importlib.metadata.PackageNotFoundError:
    raise FileNotFoundError(
      f"the Python package {PACKAGE}, which carries MovieLens-100k, is not installed; "
      f"{hint}"
    ) from None
  path = pathlib.Path(str(package.locate_file(f"{_FOLDER}/{name}")))
  if not path.is_file():
    raise FileNotFoundError(
      f"{PACKAGE} {package.version} is installed but {path} is missing; {hint}"
    )
  return path
