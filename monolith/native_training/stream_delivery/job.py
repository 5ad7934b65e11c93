"""One process of a round's job; the role comes from `TF_CONFIG`."""

from absl import app, flags

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.stream_delivery.message_counts import MessageCounts

_SERVERS = flags.DEFINE_string("servers", None, "Brokers.", required=True)
_TOPIC = flags.DEFINE_string("topic", None, "Topic and group.", required=True)
_TIMEOUT = flags.DEFINE_integer("timeout", None, "Stream timeout, ms.", required=True)


def main(_):
  p = MessageCounts.params()
  p.servers, p.topics, p.group = _SERVERS.value, _TOPIC.value, _TOPIC.value
  p.timeout = _TIMEOUT.value
  Estimator(p.instantiate(), RunnerConfig.from_flags()).train()


if __name__ == "__main__":
  RunnerConfig.define_flags()
  app.run(main)
