from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.data.datasets import create_plain_kafka_dataset
from monolith.native_training.training.graph import stream_input

_Dataset = tf.data.Dataset
_NO_ONE = "127.0.0.1:1"


def _stream(group: str = "g") -> _Dataset:
  """Elements as those of `decode_example`."""
  dataset = create_plain_kafka_dataset(["t"], group, _NO_ONE)
  return dataset.map(lambda m: {"stream_position": m.position, "x": m.offset})


def _nondeterministic() -> tf.data.Options:
  options = tf.data.Options()
  options.deterministic = False
  return options


def _unique(dataset: _Dataset) -> _Dataset:
  positions = dataset.map(lambda x: x["stream_position"]).unique()
  return positions.map(lambda position: {"stream_position": position})


def _end_early(dataset: _Dataset, num_streams: int = 1) -> bool:
  return stream_input.prepare(dataset, num_streams).may_end_early


class StreamInputTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())

  @parameterized.named_parameters(
    ("nothing", lambda d: d),
    ("prefetch", lambda d: d.prefetch(9)),
    ("parallel_map", lambda d: d.map(lambda x: x, tf.data.AUTOTUNE)),
    ("filter", lambda d: d.filter(lambda x: tf.shape(x["x"])[0] > 2)),
    ("batch", lambda d: d.unbatch().batch(7)),
    ("ragged_batch", lambda d: d.unbatch().ragged_batch(7)),
    ("padded_batch", lambda d: d.unbatch().padded_batch(7)),
    ("rebatch", lambda d: d.rebatch(7)),
    ("flat_map", lambda d: d.flat_map(_Dataset.from_tensors)),
    ("interleave", lambda d: d.interleave(_Dataset.from_tensors, cycle_length=1)),
    ("options", lambda d: d.with_options(tf.data.Options())),
    ("concatenate", lambda d: d.concatenate(_stream("h"))),
  )
  def test_ends_when_its_streams_do(self, change: Callable[[_Dataset], _Dataset]):
    self.assertFalse(_end_early(change(_stream())))

  @parameterized.named_parameters(
    ("take", lambda d: d.prefetch(9).take(3)),
    ("take_while", lambda d: d.take_while(lambda x: True).prefetch(9)),
    ("zip", lambda d: _Dataset.zip((d, _stream("h"))).map(lambda a, b: a)),
    ("samples", lambda d: _Dataset.sample_from_datasets([d, _stream("h")])),
    ("apply", lambda d: d.apply(tf.data.experimental.assert_cardinality(3))),
  )
  def test_may_end_before_its_streams(self, change: Callable[[_Dataset], _Dataset]):
    self.assertTrue(_end_early(change(_stream())))

  @parameterized.named_parameters(
    ("shuffle", lambda d: d.shuffle(9), "ShuffleDataset.*must not shuffle"),
    ("repeat", lambda d: d.repeat(2).map(lambda x: x), "RepeatDataset.*not shuffle"),
    (
      "interleave",
      lambda d: d.interleave(
        _Dataset.from_tensors, num_parallel_calls=2, deterministic=False
      ),
      "ParallelInterleaveDataset.*must not",
    ),
    (
      "interleave_by_default",
      lambda d: d.interleave(_Dataset.from_tensors).map(lambda x: x),
      r"InterleaveDataset with a cycle_length that is not 1, .*use .*cycle_length=1",
    ),
    (
      "interleave_of_two",
      lambda d: d.interleave(_Dataset.from_tensors, cycle_length=2),
      "cycle_length that is not 1",
    ),
    ("cache", lambda d: d.cache(), "CacheDataset.*must not"),
    ("snapshot", lambda d: d.snapshot("/x"), "SnapshotDatasetV2.*must not .*snapshot"),
    (
      "parallel_map",
      lambda d: d.map(lambda x: x, 2, deterministic=False).prefetch(1),
      "ParallelMapDatasetV2 with deterministic=False, .*another order",
    ),
    (
      "parallel_batch",
      lambda d: d.unbatch().batch(7, num_parallel_calls=2, deterministic=False),
      "ParallelBatchDataset with deterministic=False",
    ),
    (
      "options",
      lambda d: d.map(lambda x: x, 2).with_options(_nondeterministic()).prefetch(1),
      "options.deterministic=False, .*another order",
    ),
    (
      "options_beside",
      lambda d: _Dataset.zip(
        (d, _Dataset.range(9).with_options(_nondeterministic()))
      ).map(lambda x, n: x),
      "options.deterministic=False",
    ),
    (
      "group",
      lambda d: d.unbatch().group_by_window(
        lambda x: x["x"], lambda key, window: window.batch(3), 3
      ),
      "GroupByWindowDataset.*must not .*group",
    ),
    ("skip", lambda d: d.skip(1), "SkipDataset, which begins anew"),
    ("shard", lambda d: d.shard(2, 0), "ShardDataset, which begins anew"),
    (
      "scan",
      lambda d: d.scan(0, lambda state, x: (state, x)),
      "ScanDataset, which begins anew",
    ),
    (
      "unique",
      _unique,
      "UniqueDataset, which begins anew",
    ),
    ("twice", lambda d: d.concatenate(d), "reads a dataset of Kafka messages twice"),
  )
  def test_what_would_mix_messages_is_refused(
    self, change: Callable[[_Dataset], _Dataset], message: str
  ):
    with self.assertRaisesRegex(ValueError, message):
      stream_input.prepare(change(_stream()), 1)

  @parameterized.named_parameters(
    ("batch", lambda d: d.batch(7, drop_remainder=True)),
    ("unknown", lambda d: d.batch(7, tf.random.uniform([]) < 0.5)),
    ("parallel_batch", lambda d: d.batch(7, True, num_parallel_calls=2)),
    ("padded_batch", lambda d: d.padded_batch(7, drop_remainder=True)),
    ("ragged_batch", lambda d: d.ragged_batch(7, drop_remainder=True)),
    ("rebatch", lambda d: d.batch(3).rebatch(7, drop_remainder=True)),
  )
  def test_batches_that_lose_a_rest_are_refused(
    self, change: Callable[[_Dataset], _Dataset]
  ):
    batches = change(_stream().unbatch())
    # Whatever comes behind it.
    for dataset in (batches, batches.unbatch().batch(5)):
      with self.assertRaisesRegex(ValueError, "of a fixed size.* drop_remainder=False"):
        stream_input.prepare(dataset, 1)

  def test_nothing_is_tuned(self):
    # What tunes would be waited for whenever a stream has nothing.
    tuned = tf.data.Options()
    tuned.autotune.enabled = True
    dataset = _stream()
    self.assertFalse(dataset.options().autotune.enabled)
    dataset = stream_input.prepare(dataset.with_options(tuned), 1).dataset
    self.assertFalse(dataset.options().autotune.enabled)

  def test_single_messages_are_refused(self):
    with self.assertRaisesRegex(ValueError, r"one by one.* use batch\(n\)"):
      stream_input.prepare(_stream().unbatch(), 1)

  def test_a_stream_in_a_function_may_not_come_to_its_end(self):
    self.assertTrue(_end_early(_Dataset.range(1).flat_map(lambda _: _stream())))
    captured = _stream()
    dataset = _Dataset.range(1).flat_map(lambda _: captured.take(3))
    self.assertTrue(_end_early(dataset))
    self.assertFalse(_end_early(_stream()))
    self.assertTrue(_end_early(_stream(), num_streams=2))

  def test_beside_streams_all_is_allowed(self):
    numbers = _Dataset.range(3).shuffle(3).repeat()
    dataset = _Dataset.zip((_stream(), numbers)).map(lambda x, n: {**x, "n": n})
    self.assertTrue(_end_early(dataset))


if __name__ == "__main__":
  absltest.main()
