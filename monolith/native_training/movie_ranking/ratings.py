"""MovieLens ratings as `tf.data.Dataset`, and how the tutorial's model reads them."""

from __future__ import annotations

import pathlib
import threading
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from monolith.native_training.local_files.file_lock import locked
from monolith.native_training.movie_ranking import movielens_fallback

SIZES = ("100k", "1m", "25m")
_CONNECT_TIMEOUT_SECONDS = 5.0
_FEATURES = {
  "movie_title": tf.io.FixedLenFeature([], tf.string),
  "user_id": tf.io.FixedLenFeature([], tf.string),
  "user_rating": tf.io.FixedLenFeature([], tf.float32),
  "timestamp": tf.io.FixedLenFeature([], tf.int64),
}
_BATCH = 8192
_MAX_ID = (1 << 63) - 1


class RatingBatches(NamedTuple):
  """`batches`: tensors `[batch]`, see `load_ratings`; `size`: what they really are."""

  batches: tf.data.Dataset
  size: str


class MovieLensUnavailable(RuntimeError):
  """MovieLens is neither on this machine nor can it be downloaded."""


def load_ratings(size: str = "100k") -> tf.data.Dataset:
  """All ratings of one MovieLens data set, one rating an element.

  They come from `tensorflow_datasets`, which downloads them once. Where that cannot
  be, a warning of one line says so, and the elements are the real MovieLens-100k
  ratings of `movielens_fallback`, whatever size was asked for. Works eagerly and
  inside a `tf.Graph`.

  Args:
    size: `100k`, `1m` or `25m`.

  Returns:
    Elements `{"movie_title": string, "user_id": string, "user_rating": float32,
    "timestamp": int64}`, all scalars.

  Raises:
    ValueError: an unknown size.
    FileNotFoundError: neither MovieLens nor the fall-back is there.
  """
  return load_rating_batches(size).batches.unbatch()


def load_rating_batches(size: str = "100k") -> RatingBatches:
  """Like `load_ratings`, in batches of any size, and says which ratings they are."""
  if size not in SIZES:
    raise ValueError(f"dataset {size!r} is not one of {', '.join(SIZES)}")
  try:
    return RatingBatches(_load_from_tfds(size), size)
  except MovieLensUnavailable as error:
    logging.warning(
      "MovieLens %s cannot be downloaded (%s): using instead the real MovieLens-100k "
      "ratings of the Python package %s.",
      size,
      error,
      movielens_fallback.PACKAGE,
    )
  return RatingBatches(_load_fallback(), "100k")


def get_preprocessed_dataset(size: str = "100k") -> tf.data.Dataset:
  """The ratings as the model's inputs, one rating an element.

  Args:
    size: `100k`, `1m` or `25m`.

  Returns:
    Elements `{"mov": int64 [1], "uid": int64 [1], "label": float32 [1]}`; `mov` and
    `uid` are the 63-bit hashes of the movie's title and of the user's id.
  """
  return load_rating_batches(size).batches.map(hash_ids).unbatch()


def hash_ids(ratings: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Turns a batch of ratings into the model's ids and labels.

  Args:
    ratings: a batch of `load_ratings`, tensors `[batch]`.

  Returns:
    `mov` and `uid`: int64 `[batch, 1]`; `label`: float32 `[batch, 1]`.
  """

  def hashed(key: str) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(ratings[key], _MAX_ID)

  return {
    "mov": tf.expand_dims(hashed("movie_title"), axis=1),
    "uid": tf.expand_dims(hashed("user_id"), axis=1),
    "label": tf.expand_dims(ratings["user_rating"], axis=1),
  }


def to_ragged(x: dict[str, tf.Tensor]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
  """Makes the ids of a batch ragged, as `MonolithModel` takes them.

  Args:
    x: `mov`, `uid`: int64 `[batch, 1]`; `label`: float32 `[batch, 1]`.

  Returns:
    The same with `mov` and `uid` ragged, `[batch, (1)]`.
  """
  return {
    "mov": tf.RaggedTensor.from_tensor(x["mov"]),
    "uid": tf.RaggedTensor.from_tensor(x["uid"]),
    "label": x["label"],
  }


def _load_from_tfds(size: str) -> tf.data.Dataset:
  """Batches of ratings."""
  import tensorflow_datasets as tfds  # Slow to import, and only needed here.

  name = f"movielens/{size}-ratings"
  try:
    builder = tfds.builder(name, file_format="tfrecord")
    if not _is_prepared(builder):
      # tensorflow_datasets itself tries for minutes before it gives up.
      _check_connection(builder.builder_config.download_url)
      with locked(_lock_beside(builder.data_dir)):
        if not _is_prepared(builder):
          builder.download_and_prepare()
    files = [str(path) for path in builder.info.splits["train"].filepaths]
  except MovieLensUnavailable:
    raise
  except Exception as error:  # Any of many libraries' own; all mean "cannot be had".
    reason = " ".join(str(error).split()) or type(error).__name__
    raise MovieLensUnavailable(reason[:200]) from error
  # `builder.as_dataset` parses every feature of one rating at a time, which takes
  # minutes for the larger data sets.
  return (
    tf.data.TFRecordDataset(files)
    .batch(_BATCH)
    .map(lambda examples: tf.io.parse_example(examples, _FEATURES))
  )


def _is_prepared(builder) -> bool:
  return (pathlib.Path(str(builder.data_dir)) / "dataset_info.json").exists()


def _check_connection(url: str) -> None:
  """Raises MovieLensUnavailable unless the host of `url` answers within seconds.

  The look-up of a name has no time limit of its own, so it happens in a thread that
  is left behind when it takes too long.
  """
  import requests  # Honours the user's proxy settings, as the download does.

  outcome: list[str] = []

  def connect() -> None:
    try:
      with requests.head(url, timeout=_CONNECT_TIMEOUT_SECONDS) as response:
        failed = response.status_code >= 400
        outcome.append(f"HTTP status {response.status_code}" if failed else "")
    except requests.RequestException as error:
      outcome.append(f"{_host(url)} cannot be reached, {type(error).__name__}")

  thread = threading.Thread(target=connect, daemon=True)
  thread.start()
  thread.join(2 * _CONNECT_TIMEOUT_SECONDS)
  if not outcome:
    raise MovieLensUnavailable(f"{_host(url)} does not answer")
  if outcome[0]:
    raise MovieLensUnavailable(outcome[0])


def _host(url: str) -> str:
  return url.partition("://")[2].partition("/")[0]


def _lock_beside(folder: str) -> pathlib.Path:
  """One for all processes, whatever their temporary folders are."""
  path = pathlib.Path(folder)
  path.parent.mkdir(parents=True, exist_ok=True)
  return path.with_name(f"{path.name}.lock")


def _load_fallback() -> tf.data.Dataset:
  """One batch of all ratings."""
  columns = movielens_fallback.read_movielens_100k()
  return tf.data.Dataset.from_tensors(columns._asdict()).map(
    lambda ratings: {
      "movie_title": tf.gather(ratings["titles"], ratings["title_of_rating"]),
      "user_id": tf.gather(ratings["users"], ratings["user_of_rating"]),
      "user_rating": ratings["stars"],
      "timestamp": ratings["timestamps"],
    }
  )
