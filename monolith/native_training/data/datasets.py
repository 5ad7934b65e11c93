"""Datasets that models read."""

from collections.abc import Iterator, Sequence

import tensorflow as tf

from monolith.native_training.data import malloc_thresholds
from monolith.native_training.data.inline_map import map_inline
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.kafka_messages import KafkaMessages
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_messages import StreamMessages
from monolith.native_training.runtime.ops import loader, python_errors

_SCOPE = "monolith_kafka_dataset"


def create_plain_kafka_dataset(
  topics: Sequence[str],
  group_id: str,
  servers: str,
  stream_timeout: int = -1,
  message_poll_timeout: int = 10000,
  poll_batch_size: int = 1024,
  configuration: Sequence[str] | None = None,
) -> tf.data.Dataset:
  """A dataset of the messages of Kafka topics, as they come.

  Works eagerly and in graphs. Every iteration joins the consumer group, so that all who
  read share the partitions, and begins where the group has committed its offsets, or at
  the earliest message where it has not. Iterating commits nothing: what was read is
  read again by the next iteration. There is one at a time: when another begins, an
  older one ends with an error. Who reads in several threads makes a dataset for each.

  An `Estimator` that trains on it does more. How far each partition is trained on is
  part of its checkpoints, and a job begins where its checkpoint is; one without
  checkpoint where the group has committed. Offsets are committed when a checkpoint
  covers them. So whatever is killed, and whenever: every message is trained on at least
  once by the model that there is in the end, and what is trained on again is at most
  what was trained since the last checkpoint was begun, and by workers other than the
  chief in a step or a quarter of a second before that, or what a worker had read ahead
  when a partition went to another, or came back to a worker that the group had missed,
  as one that was paused for long: up to about 20,000 messages a worker each time.
  Messages that cannot be parsed count as trained on; messages that `input_fn` drops do
  so when a later one of its worker is trained on.

  For that the elements must keep `"stream_position"`, which `decode_example` puts in,
  and the order in which they were read: `input_fn` may map, filter, unbatch, batch and
  prefetch, but not shuffle, repeat or drop remainders, may interleave with
  `cycle_length=1` and not in parallel, and may read a dataset once only. Behind a
  stream that has had nothing for a second all of it begins anew: `take` and `enumerate`
  count again from 0, and `skip`, `scan`, `shard` and `unique` are refused. A condition
  is `tf.equal(a, b)`: in a graph, `a == b` asks whether both are the same tensor. Where
  the dataset may end before all has come out of it, as behind `take` or `zip`, the rest
  is read again. Workers share the partitions. A worker trains on what there is after at
  most a second, in a batch that may be small.

  Of several streams that are zipped, a worker trains only on as many messages as it has
  of each, so such a job had better have one worker: where there are more, one may get
  partitions of one stream whose counterpart another gets. A worker that has had nothing
  of a stream for its `stream_timeout` ends then, with a warning, and what it holds of
  the others is for the workers that stay, or for the next job.

  While it is read, malloc keeps more of what the process has freed for later, as it
  does in a process without a generator (see `malloc_thresholds`).

  A broker that is away, or a topic that does not exist yet or no more, is waited for,
  with a warning once a minute. One that was deleted and made anew is another: a job
  that has trained on the old one ends with an error within seconds, or when it is
  started again.
  Certificates that are not valid, a wrong password or a missing right are errors. They
  come out of `Estimator.train` as `StreamFailed`, and of who iterates eagerly as an
  `UnknownError` that has its text.

  Args:
    topics: names of topics, or patterns that begin with "^": regular expressions of the
      topics whose names begin so; one that ends with "$" is of whole names. They have
      what all who match names understand alike: ".", "*", "+", "?", "{n,m}", "|",
      "(...)", "[a-z]", "[^a-z]", and "\\" before ".", "_" and "-" only. Topics whose
      names begin with "__", as those that Kafka has for itself, are left out unless one
      of `topics` begins with "__" or "^__".
    group_id: of the consumer group.
    servers: brokers, "host:port", several with commas between.
    stream_timeout: the dataset ends when no message has come for so many milliseconds;
      -1 is never. It does not count while none of its topics exists. Who reads eagerly
      and wants to be interrupted sets one: while TensorFlow waits for a message, Ctrl-C
      takes effect only when one comes or the dataset ends.
    message_poll_timeout: after so many milliseconds without a message the log says so,
      once a minute at most.
    poll_batch_size: the most messages of an element, up to 2^31 - 1.
    configuration: settings of librdkafka, each "key=value", TLS and SASL among them.
      With `group.protocol=consumer` the brokers share out the partitions, and say how
      soon a worker that was killed is missed. `queued.max.messages.kbytes` (8192) and
      `queued.min.messages` (25000), which limit what is read ahead, hold for each
      partition.

  Returns:
    A dataset of `KafkaMessages`, 1 to `poll_batch_size` each: those of each partition
    in its order, and the partitions mixed. Where more has come than is read at once,
    partitions that are behind the others by their timestamps come first.

  Raises:
    ValueError: an argument is not as described, or librdkafka does not know a setting,
      or a setting would undo what is promised above.
  """
  stream = KafkaStream(
    topics,
    group_id,
    servers,
    stream_timeout,
    message_poll_timeout,
    poll_batch_size,
    configuration,
  )
  spec = StreamMessages(
    values=tf.TensorSpec([None], tf.uint8),
    begin=tf.TensorSpec([None], tf.int64),
    end=tf.TensorSpec([None], tf.int64),
    topic=tf.TensorSpec([None], tf.string),
    partition=tf.TensorSpec([None], tf.int32),
    offset=tf.TensorSpec([None], tf.int64),
    timestamp=tf.TensorSpec([None], tf.int64),
    position=tf.TensorSpec([None], tf.int64),
  )
  with tf.name_scope(_SCOPE):
    # Large elements cross over from Python, and TensorFlow cuts them.
    together = tf.data.Dataset.from_generator(
      lambda: _batches(stream), output_signature=spec
    )
    end = tf.data.Dataset.from_generator(stream.drained, output_signature=spec)
    # Reading goes on while TensorFlow cuts, and what comes after that.
    all_ = together.prefetch(1).concatenate(end)
    messages = all_.flat_map(lambda messages: _cut(messages, poll_batch_size))
    return messages.with_options(untuned())


def _batches(stream: KafkaStream) -> Iterator[StreamMessages]:
  malloc_thresholds.raise_again()
  with python_errors.kept(StreamFailed):
    yield from stream.batches()


def untuned() -> tf.data.Options:
  """Options of a dataset whose iterators end at once.

  With autotuning the end of an iterator waits for TensorFlow's tuner, which may miss
  that it is to end and sleep on, after some minutes for up to a minute.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return options


def is_stream(op: tf.Operation) -> bool:
  """Whether an op of a graph is such a dataset, or part of one."""
  return any(part.startswith(_SCOPE) for part in op.name.split("/"))


def _cut(together: StreamMessages, size: int) -> tf.data.Dataset:
  """`KafkaMessages` of `size` each, the last ones as many as are left."""
  values, begin, end, topic, *places = together
  topic = tf.broadcast_to(topic, tf.shape(begin))
  rows = tf.data.Dataset.from_tensors((begin, end, topic, *places)).rebatch(size)

  def as_messages(begin, end, *places):
    message = loader.ops().monolith_cut_bytes(values, begin, end)
    return KafkaMessages(message, *places)

  return map_inline(rows, as_messages)
