"""A model of whether a reader opens an article, on generated data."""

import numpy as np
import tensorflow as tf

from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.native_model import MonolithModel

NUM_EXAMPLES = 2048


def generate_clicks(num_examples: int, seed: int = 1) -> dict[str, np.ndarray]:
  """Makes up clicks that depend on who reads what.

  Args:
    num_examples: how many.
    seed: of the random numbers.

  Returns:
    `reader`: int64 `[num_examples]`; `topics`: int64 `[num_examples, 2]`; `clicked`:
    float32 `[num_examples, 1]`, 0 or 1.
  """
  random = np.random.default_rng(seed)
  reader = random.integers(0, 40, num_examples)
  topics = random.integers(0, 25, (num_examples, 2))
  eagerness = random.normal(size=40)
  appeal = random.normal(size=25)
  interest = eagerness[reader] + appeal[topics].sum(axis=1)
  clicked = (interest > np.median(interest)).astype(np.float32)
  # Ids may be any 64-bit integers: these are spread over all of them.
  spread = 0x61C8864680B583EB
  return {
    "reader": reader * spread,
    "topics": -topics * spread,
    "clicked": clicked[:, None],
  }


class ClickModel(MonolithModel):
  """Readers and the topics of articles have embeddings."""

  def input_fn(self, mode):
    dataset = tf.data.Dataset.from_tensor_slices(generate_clicks(NUM_EXAMPLES))
    if mode == tf.estimator.ModeKeys.TRAIN:
      dataset = dataset.repeat()

    def to_ragged(example):
      return {
        "reader": tf.RaggedTensor.from_tensor(example["reader"][:, None]),
        "topics": tf.RaggedTensor.from_tensor(example["topics"]),
        "clicked": example["clicked"],
      }

    return dataset.batch(128).map(to_ragged)

  def model_fn(self, features, mode):
    for name in ("reader", "topics"):
      self.create_embedding_feature_column(name)
    embeddings = self.lookup_embedding_slice(
      features=["reader", "topics"], slice_name="vec", slice_dim=16, out_type="concat"
    )
    layers = tf.keras.Sequential(
      [tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(1)]
    )
    logits = layers(embeddings)
    clicked = features["clicked"]
    loss = tf.reduce_mean(
      tf.nn.sigmoid_cross_entropy_with_logits(labels=clicked, logits=logits)
    )
    return EstimatorSpec(
      label=clicked,
      pred=tf.sigmoid(logits),
      head_name="click",
      loss=loss,
      optimizer=tf.compat.v1.train.AdagradOptimizer(0.1),
    )
