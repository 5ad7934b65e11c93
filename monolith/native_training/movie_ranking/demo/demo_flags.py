"""The demo's command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from monolith.native_training.number_checks import is_finite

TRAINING_TYPE = flags.DEFINE_enum(
  "training_type", "batch", ["batch", "stream"], "Train on files or on a stream."
)
NUM_PS = flags.DEFINE_integer(
  "num_ps", 2, "Parameter servers. With 0, one worker holds everything.", lower_bound=0
)
NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "Workers.", lower_bound=1)
DATASET = flags.DEFINE_enum(
  "dataset",
  "100k",
  ["100k", "1m", "25m", "synthetic"],
  "MovieLens ratings of that size, or generated ones. Where MovieLens cannot be "
  "downloaded, the real 100k ratings of a Python package take its place.",
)
NUM_RATINGS = flags.DEFINE_integer(
  "num_ratings", 1_000_000, "How many ratings 'synthetic' has.", lower_bound=1
)
EPOCHS = flags.DEFINE_integer(
  "epochs",
  None,
  "Passes over the ratings; if not given, 7 over files and 1 over a stream, of the "
  "demo's own broker.",
  lower_bound=1,
)
BATCH_SIZE = flags.DEFINE_integer(
  "batch_size",
  None,
  "Examples a step of one worker, on a stream at most so many; if not given, 512 over "
  "files and 64 over a stream.",
  lower_bound=1,
)
SEED = flags.DEFINE_integer(
  "seed", 0, "Of the order of ratings, and of synthetic ones."
)
MODEL_DIR = flags.DEFINE_string(
  "model_dir",
  "",
  "Folder for checkpoints, TensorBoard logs and the processes' logs. A model in it is "
  "trained further. Empty: a new temporary folder, which stays.",
)
RATINGS_DIR = flags.DEFINE_string(
  "ratings_dir",
  "",
  "Folder to keep prepared MovieLens ratings in for the next run. Empty: not kept.",
)
RESTART_FAILED = flags.DEFINE_bool(
  "restart_failed",
  False,
  "Start a server or worker again that fails or is killed, after 1, 2, 4, ... up to 30 "
  "seconds, at most 10 times without running for a minute in between; and save every "
  "10 seconds, as a stream always does, so that little is trained again.",
)
KAFKA_SERVERS = flags.DEFINE_string(
  "kafka_servers",
  "",
  "Stream: brokers to read from, host:port, several with commas between; who sends the "
  "ratings is up to you. Empty: the demo runs a broker of its own, and sends them.",
)
TOPIC = flags.DEFINE_string(
  "topic",
  "movie-ratings",
  "Stream: the topic. With --kafka_servers, one that does not exist yet is waited for, "
  "however long that takes.",
)
GROUP = flags.DEFINE_string(
  "group",
  "",
  "Stream: the consumer group, which --model_dir keeps for its next run. Empty: the "
  "one that it keeps, or a new one of its own.",
)
KAFKA_CONFIGURATION = flags.DEFINE_multi_string(
  "kafka_configuration",
  [],
  'Stream: a setting of librdkafka, "key=value", such as TLS and SASL need; may be '
  "repeated. Passwords are better off in a file: --flagfile.",
)
STREAM_TIMEOUT = flags.DEFINE_integer(
  "stream_timeout",
  10000,
  "Stream: training ends when no rating has come for so many milliseconds; -1: never. "
  "Waiting for brokers, or for a topic that does not exist, does not count.",
  lower_bound=-1,
)
MAX_BAD_MESSAGE_RATIO = flags.DEFINE_float(
  "max_bad_message_ratio",
  0.01,
  "Stream: share of messages that may be no ratings; training stops where there are "
  "more, and chance does not explain it.",
  lower_bound=0,
  upper_bound=1,
)
RATE = flags.DEFINE_float(
  "rate",
  0.0,
  "Stream, of the demo's own broker: ratings sent a second, as live traffic has, at "
  "least two in --stream_timeout; 0: as fast as can be.",
  lower_bound=0,
)
PARTITIONS = flags.DEFINE_integer(
  "partitions",
  8,
  "Stream, of the demo's own broker: partitions of the topic.",
  lower_bound=1,
)
METRICS_PORT = flags.DEFINE_integer(
  "metrics_port",
  0,
  "Worker i serves its metrics to Prometheus at this port + i, on this machine only; "
  "0: not.",
  lower_bound=0,
  upper_bound=65000,
)
SERVE = flags.DEFINE_bool(
  "serve",
  False,
  "Serve the model when it is trained, until Ctrl-C, and print a line that asks it.",
)
SERVE_PORT = flags.DEFINE_integer(
  "serve_port", 8500, "The model server's, for gRPC.", 1, 65535
)
SERVE_REST_API_PORT = flags.DEFINE_integer(
  "serve_rest_api_port", 8501, "The model server's, for HTTP.", 1, 65535
)
RESULT_JSON = flags.DEFINE_string(
  "result_json", "", "Also write the result to this file, as JSON."
)

# How many ratings MovieLens data sets have; what replaces one has no more.
_RATINGS = {"100k": 100_000, "1m": 1_000_209, "25m": 25_000_095}
_TRAINING_SHARE = 0.9
_LEAST_IN_TIMEOUT = 2  # Ratings; with one, training would end between any two.
_OF_STREAMS = (
  TOPIC,
  GROUP,
  KAFKA_CONFIGURATION,
  STREAM_TIMEOUT,
  MAX_BAD_MESSAGE_RATIO,
  RATE,
  PARTITIONS,
)


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; what is no flag of this program is named and ignored.

  Args:
    argv: the program's name and its arguments.

  Returns:
    The program's name.
  """
  try:
    program, *unknown = flags.FLAGS(list(argv), known_only=True)
  except flags.Error as error:
    sys.exit(refusal(str(error)))
  if unknown:
    print(f"ignored, not flags of this demo: {' '.join(unknown)}", file=sys.stderr)
  return [program]


def is_stream() -> bool:
  """Whether the ratings come from Kafka."""
  return TRAINING_TYPE.value == "stream"


def epochs() -> int:
  """Passes over the ratings."""
  return EPOCHS.value or (1 if is_stream() else 7)


def batch_size() -> int:
  """Examples a step."""
  return BATCH_SIZE.value or (64 if is_stream() else 512)


def expected_examples() -> int:
  """About how many examples training sees at most, all workers and epochs together."""
  ratings = _RATINGS.get(DATASET.value, NUM_RATINGS.value)
  return int(ratings * _TRAINING_SHARE) * epochs()


def check() -> None:
  """Checks what the flags say together.

  Raises:
    ValueError: they make no sense.
  """
  if not SERVE.value:
    _refuse([SERVE_PORT, SERVE_REST_API_PORT], "is for --serve")
  if is_stream():
    _check_stream()
    return
  if KAFKA_SERVERS.value:
    raise ValueError(
      f"--kafka_servers={KAFKA_SERVERS.value} is for --training_type=stream"
    )
  _refuse(_OF_STREAMS, "is for --training_type=stream")
  if DATASET.value != "synthetic":
    _refuse([NUM_RATINGS], "is for --dataset=synthetic")
  share = expected_examples() // NUM_WORKERS.value
  if batch_size() > share:
    raise ValueError(
      f"--batch_size={batch_size()} is more than a worker has to train on: about "
      f"{share:,} examples, a {NUM_WORKERS.value}th of {DATASET.value} in "
      f"{epochs()} epochs"
      if NUM_WORKERS.value > 1
      else f"--batch_size={batch_size()} is more than there is to train on: about "
      f"{share:,} examples of {DATASET.value} in {epochs()} epochs"
    )


def _check_stream() -> None:
  if DATASET.value == "synthetic":
    raise ValueError(
      "--dataset=synthetic cannot be streamed, because its ratings have no times; use "
      "100k, 1m or 25m"
    )
  if not is_finite(RATE.value):
    raise ValueError(f"--rate={RATE.value} is no number of ratings a second")
  if not is_finite(MAX_BAD_MESSAGE_RATIO.value):
    raise ValueError(
      f"--max_bad_message_ratio={MAX_BAD_MESSAGE_RATIO.value} is no share"
    )
  if KAFKA_SERVERS.value:
    _refuse(
      (EPOCHS, RATE, PARTITIONS, SEED, NUM_RATINGS),
      "has no effect with --kafka_servers: what others send to the topic is trained on "
      "(kafka_producer has --passes, --rate and --partitions)",
    )
    return
  _check_rate()
  _refuse(
    [GROUP],
    "has no effect without --kafka_servers: the demo's own broker is new in each run, "
    "and so is its consumer group",
  )
  _refuse(
    (SEED, NUM_RATINGS),
    "has no effect on a stream: all ratings come in the order of their times",
  )


def _check_rate() -> None:
  if not RATE.value or STREAM_TIMEOUT.value < 0:
    return
  gap = 1000 / RATE.value
  if _LEAST_IN_TIMEOUT * gap > STREAM_TIMEOUT.value:
    raise ValueError(
      f"--rate={RATE.value:g} leaves {gap:,.0f} ms between two ratings, and training "
      f"ends after {STREAM_TIMEOUT.value:,} ms without one (--stream_timeout): send "
      f"faster, or wait for at least {_LEAST_IN_TIMEOUT * gap:,.0f} ms"
    )


def _refuse(given: Sequence[flags.FlagHolder], why: str) -> None:
  """Raises ValueError, naming it, for a flag that was given."""
  for flag in given:
    if flag.present:
      raise ValueError(f"--{flag.name} {why}")


def refusal(message: str) -> int:
  """Says why the demo does not begin; returns its exit code."""
  print(f"demo: {message}", file=sys.stderr)
  return 2
