"""A model that says how often it was trained on each message, for tests of streams.

Each message has a number, which is an id; a step adds 1 to its row's only value. So a
checkpoint says exactly what its model was trained on, whatever was lost on the way.
"""

import numpy as np
import tensorflow as tf

from monolith.native_training.checkpoint_tool.saved_checkpoint import SavedCheckpoint
from monolith.native_training.data import datasets
from monolith.native_training.data.bad_messages import BadMessages
from monolith.native_training.data.dead_letters import KafkaDeadLetters
from monolith.native_training.data.example_parsing import decode_example, serialize_one
from monolith.native_training.data.kafka.stream_offsets import Offsets
from monolith.native_training.entry import SgdOptimizer, ZerosInitializer
from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.positions import stream_positions

_FEATURES = {"number": tf.io.RaggedFeature(tf.int64)}


def message(number: int) -> bytes:
  return serialize_one({"number": [number]})


class MessageCounts(MonolithModel):
  """Counts the messages of topics.

  Attributes:
    bad_messages: of this model's dataset, once it is made.
  """

  @classmethod
  def params(cls):
    p = super().params()
    p.clip_norm = None
    p.define("servers", "", "Brokers.")
    p.define("topics", "", "Topics.")
    p.define("group", "counts", "Consumer group.")
    p.define("timeout", 3000, "Stream timeout, ms.")
    p.define("batch_size", 0, "Messages a batch; 0 takes them as they come.")
    p.define("max_bad", 0.01, "Share of bad messages that is allowed.")
    p.define("dead_letters", "", "Topic for bad messages; empty drops them.")
    return p

  def input_fn(self, mode):
    letters = None
    if self.p.dead_letters:
      letters = KafkaDeadLetters(self.p.servers, self.p.dead_letters)
    self.bad_messages = BadMessages(self.p.max_bad, letters)
    dataset = datasets.create_plain_kafka_dataset(
      self.p.topics.split(","),
      self.p.group,
      self.p.servers,
      stream_timeout=self.p.timeout,
    ).map(lambda messages: decode_example(messages, _FEATURES, self.bad_messages))
    if self.p.batch_size:
      dataset = dataset.unbatch().batch(self.p.batch_size)
    return dataset

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("number")
    value = self.lookup_embedding_slice(
      ["number"], "count", 1, ZerosInitializer(), SgdOptimizer(1.0)
    )[0]
    return EstimatorSpec(
      label=None, pred=value, loss=-tf.reduce_sum(value), classification=False
    )


def offsets(path: str) -> Offsets:
  """Up to where a checkpoint covers the partitions."""
  covered_by = stream_positions.of_checkpoint(path)
  return {p: offset for p, offset in covered_by.items() if p.is_real}


def covered(model_dir: str) -> int:
  """How many messages the newest complete checkpoint of a folder covers, if any."""
  path = checkpoint.latest_checkpoint(model_dir)
  return sum(offsets(path).values()) if path else 0


def counts(path: str) -> dict[int, int]:
  """How often the model of a checkpoint was trained on each message, by number."""
  found = {}
  for rows in SavedCheckpoint(path).rows("number"):
    values = np.ravel(rows.embeddings).tolist()
    found.update(zip(rows.ids.tolist(), map(round, values), strict=True))
  return found
