"""The tutorial's other limit for bad messages, and its topic for them."""

import tensorflow as tf  # After Monolith, which chooses its Keras.
from absl.testing import absltest

from monolith.native_training.data.bad_messages import BadMessages
from monolith.native_training.data.dead_letters import KafkaDeadLetters
from monolith.native_training.data.example_parsing import decode_example, serialize_one


class _Producer:
  """In place of one that is connected."""

  def __init__(self):
    self.sent = []

  def produce(self, topic, value, headers, on_delivery):
    self.sent.append((topic, value))
    on_delivery(None, None)

  def poll(self, timeout):
    pass

  def flush(self, timeout):
    return 0


class BadClicksTest(absltest.TestCase):
  def test_bad_ones_go_to_a_topic(self):
    producer = _Producer()
    letters = KafkaDeadLetters(
      "127.0.0.1:9092", "clicks-bad", make_producer=lambda settings: producer
    )
    bad_messages = BadMessages(max_bad_message_ratio=0.05, dead_letters=letters)
    clicks = [serialize_one({"person": [i]}) for i in range(40)] + [b"garbage"]
    features = {"person": tf.io.RaggedFeature(tf.int64)}
    decoded = decode_example(tf.constant(clicks), features, bad_messages)
    self.assertEqual(decoded["person"].flat_values.numpy().tolist(), list(range(40)))
    self.assertEqual(producer.sent, [("clicks-bad", b"garbage")])


if __name__ == "__main__":
  absltest.main()
