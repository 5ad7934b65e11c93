import numpy as np
from absl.testing import absltest

from monolith.native_training.data.kafka import stream_ledger, stream_offsets
from monolith.native_training.data.kafka.stream_ledger import StreamLedger
from monolith.native_training.data.kafka.stream_offsets import Partition


def _emit(ledger: StreamLedger, partitions, offsets) -> np.ndarray:
  index, partition = np.array([[0] * len(partitions), partitions], np.int32)
  return ledger.emit(["t"], index, partition, np.array(offsets, np.int64))


def _of(offsets) -> dict:
  """Offsets by partition, without group and topic."""
  return {key.partition: offset for key, offset in offsets.items()}


class StreamLedgerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.ledger = StreamLedger("g")

  def test_offsets_follow_what_is_taken(self):
    at = _emit(self.ledger, [0, 1, 0, 1, 1], [10, 5, 11, 6, 9])
    self.assertEqual(_of(self.ledger.take(at[:2])), {0: 11, 1: 6})
    self.assertEqual(_of(self.ledger.take(at[2:4])), {0: 12, 1: 7})
    more = _emit(self.ledger, [0], [12])
    # A batch may have messages of two chunks; what lies between was left out.
    self.assertEqual(_of(self.ledger.take(more)), {0: 13, 1: 10})
    self.assertEqual(
      self.ledger.offsets(), {Partition("g", "t", 0): 13, Partition("g", "t", 1): 10}
    )

  def test_topics_are_told_apart(self):
    a, b = Partition("g", "a", 0), Partition("g", "b", 0)
    index, partition = np.array([[0, 1, 0], [0, 0, 0]], np.int32)
    at = self.ledger.emit(["a", "b"], index, partition, np.array([1, 7, 2]))
    self.assertEqual(self.ledger.take(at[:2]), {a: 2, b: 8})
    self.assertEqual(self.ledger.open_partitions(), {a})
    self.assertEqual(self.ledger.drop_open(), {a: 2})

  def test_bad_messages_are_not_waited_for(self):
    at = _emit(self.ledger, [0] * 5, range(5))
    self.ledger.leave_out(at[[1, 3, 4]])
    self.assertEqual(self.ledger.offsets(), {})
    self.ledger.take(at[:1])
    self.assertEqual(_of(self.ledger.offsets()), {0: 2})
    self.ledger.take(at[2:3])
    self.assertEqual(_of(self.ledger.offsets()), {0: 5})
    # None of a chunk is good.
    at = _emit(self.ledger, [0] * 2, [5, 6])
    stream_ledger.leave_out(at)
    self.assertEqual(_of(self.ledger.offsets()), {0: 7})

  def test_bad_messages_that_are_read_again_are_known(self):
    at = _emit(self.ledger, [0] * 4, range(4))
    self.assertEqual(stream_ledger.are_counted(at), [False] * 4)
    self.ledger.leave_out(at[[1, 2]])
    self.assertEqual(stream_ledger.are_counted(at), [False, True, True, False])
    self.assertEqual(self.ledger.open_count(), 4)
    self.ledger.drop_open()
    self.assertEqual(self.ledger.open_count(), 0)
    at = _emit(self.ledger, [0] * 5, range(5))
    self.assertEqual(stream_ledger.are_counted(at), [False, True, True, False, False])
    # Of no stream that there is.
    self.assertEqual(stream_ledger.are_counted(np.arange(2)), [False] * 2)

  def test_bad_messages_that_are_read_again_count_once(self):
    at = _emit(self.ledger, [0] * 6, range(6))
    self.ledger.leave_out(at[[1, 4]])
    self.ledger.take(at[:3])
    self.assertEqual(self.ledger.left_out, 2)
    # A part, 5 not looked at yet.
    self.ledger.drop_open()
    at = _emit(self.ledger, [0] * 3, range(3, 6))
    self.ledger.leave_out(at[[1, 2]])
    self.assertEqual(self.ledger.left_out, 3)
    self.ledger.take(at[:1])
    # All, because training goes back.
    self.ledger.begin({})
    at = _emit(self.ledger, [0] * 7, range(7))
    self.ledger.leave_out(at[[1, 4, 5, 6]])
    self.assertEqual(self.ledger.left_out, 4)

  def test_another_order_is_refused(self):
    at = _emit(self.ledger, [0] * 4, range(4))
    for wrong in ([1, 0], [0, 0]):
      with self.assertRaisesRegex(ValueError, "must not shuffle, repeat"):
        self.ledger.take(at[wrong])
    self.ledger.take(at[2:])
    with self.assertRaisesRegex(ValueError, "must not shuffle, repeat"):
      self.ledger.take(at[:2])

  def test_what_nobody_took_is_read_again(self):
    at = _emit(self.ledger, [0, 1, 0, 1], [10, 5, 11, 6])
    _emit(self.ledger, [2, 0], [0, 12])
    self.ledger.take(at[:3])
    self.assertEqual({p.partition for p in self.ledger.open_partitions()}, {0, 1, 2})
    self.assertEqual(_of(self.ledger.drop_open()), {1: 6, 2: 0, 0: 12})
    self.assertEmpty(self.ledger.open_partitions())
    self.assertEqual(_of(self.ledger.offsets()), {0: 12, 1: 6})
    # A batch that was under way does not count, and what is read again does.
    self.assertIsNone(self.ledger.take(at[3:]))
    again = _emit(self.ledger, [1], [6])
    self.assertEqual(_of(self.ledger.take(again)), {0: 12, 1: 7})
    self.assertEqual(self.ledger.drop_open(), {})

  def test_where_all_is_read_and_taken_it_is_at_the_end(self):
    a, b, c = (Partition("g", "t", i) for i in range(3))
    at = _emit(self.ledger, [0, 1], [10, 5])
    self.ledger.take(at[:1])
    self.ledger.pass_ends({a: 14, b: 8, c: 2})
    self.assertEqual(self.ledger.offsets(), {a: 14, c: 2})
    self.ledger.take(at[1:])
    self.ledger.pass_ends({a: 13, b: 8})
    self.assertEqual(self.ledger.offsets(), {a: 14, b: 8, c: 2})

  def test_begins_where_training_is(self):
    at = _emit(self.ledger, [0], [10])
    self.ledger.begin({Partition("g", "t", 0): 4, Partition("other", "t", 0): 8})
    self.assertEqual(self.ledger.offsets(), {Partition("g", "t", 0): 4})
    self.assertIsNone(self.ledger.take(at))

  def test_offsets_of_a_partition_never_fall(self):
    # It went to another worker and came back from where that one was.
    self.ledger.take(_emit(self.ledger, [0], [20]))
    self.assertEqual(_of(self.ledger.take(_emit(self.ledger, [0], [15]))), {0: 21})

  def test_streams_are_told_apart(self):
    other = StreamLedger("h")
    a, b = _emit(self.ledger, [0, 0], [3, 4]), _emit(other, [0], [9])
    self.assertEqual(
      stream_ledger.take(np.array([a[0], b[0], a[1]])),
      {Partition("g", "t", 0): 5, Partition("h", "t", 0): 10},
    )


class StreamOffsetsTest(absltest.TestCase):
  def test_encoding(self):
    offsets = {Partition("g", "ü.1", 0): 5, Partition("g", "ü.1", 12): 2**40}
    encoded = stream_offsets.encode(offsets)
    self.assertEqual(stream_offsets.decode(encoded), offsets)
    self.assertEqual(stream_offsets.decode(b""), {})
    for wrong in (b"{", b"[]", b'{"g":{"t":{"x":1}}}', b'{"g":3}', b"\xff"):
      with self.assertRaisesRegex(ValueError, "not offsets of a stream"):
        stream_offsets.decode(wrong)

  def test_the_furthest_counts(self):
    a, b = Partition("g", "t", 0), Partition("g", "t", 1)
    self.assertEqual(stream_offsets.merge([{a: 1, b: 5}, {a: 3}, {}]), {a: 3, b: 5})


if __name__ == "__main__":
  absltest.main()
