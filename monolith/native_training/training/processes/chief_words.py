"""The chief's words to the parameter servers, in a queue on each."""

import enum

import tensorflow as tf

_NAME = "monolith_words"


class Word(enum.IntEnum):
  """What the chief says to a server."""

  GOES_ON = 0  # Again and again, as long as the chief lives.
  IS_OVER = 1  # The job: the server leaves.
  CHIEF_LEAVES = 2  # Before the job is over; who was asked to leave follows.
  SAVES = 3  # A checkpoint is being written.
  SAVE_ENDED = 4  # With or without success.
  MAY_LEAVE = 5  # To a server that was asked to: what it had is saved.


def queue(device: str) -> tf.queue.FIFOQueue:
  """The words to the server on a device."""
  with tf.device(device):
    return tf.queue.FIFOQueue(1024, [tf.int64], [[]], shared_name=_NAME)


def say(word: Word, device: str) -> tf.Operation:
  """An op that says a word."""
  with tf.device(device):
    return queue(device).enqueue((tf.constant(int(word), tf.int64),))
