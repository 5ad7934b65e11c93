"""Runs one node of Apache Kafka on this machine until Ctrl-C or SIGTERM."""

import sys
import time
from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.local_broker.local_broker import (
  BrokerFailed,
  LocalBroker,
)
from monolith.native_training.local_files import closed_pipe
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

_PORT = flags.DEFINE_integer(
  "port", 9092, "Where clients connect, on loopback. 0: a free one.", 0, 65535
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir",
  "",
  "Folder that keeps topics and the log. Empty: a temporary one, removed at the end.",
)


@closed_pipe.ends_quietly
def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  data_dir = user_path(_DATA_DIR.value)
  with StopSignals() as signals:
    try:
      with LocalBroker(_PORT.value, data_dir, signals.check) as broker:
        print(f"Kafka is ready at {broker.bootstrap_servers}", flush=True)
        while True:
          signals.check()
          broker.check()
          time.sleep(0.1)
    except Stopped:
      print("Kafka has stopped", flush=True)
    except BrokerFailed as error:
      sys.exit(f"broker: {error}")


if __name__ == "__main__":
  app.run(main)
