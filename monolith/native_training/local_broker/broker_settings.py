"""What one Kafka node on this machine is set to."""

import pathlib


def server_properties(port: int, controller_port: int, data: pathlib.Path) -> str:
  """The node's `server.properties`: broker and controller in one (KRaft), on loopback.

  Args:
    port: where clients connect.
    controller_port: where the node talks to itself.
    data: folder of its logs.
  """
  settings = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
    "controller.listener.names": "CONTROLLER",
    "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
    "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "log.dirs": data / "logs",
    # Topics are made by those who mean to.
    "auto.create.topics.enable": "false",
    # One node has one copy, and nobody to wait for.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Members that come together share the partitions from the start.
    "group.initial.rebalance.delay.ms": 500,
    "log.segment.bytes": 64 << 20,
  }
  return "".join(f"{name}={value}\n" for name, value in settings.items())
