"""What one Kafka node on this machine is set to."""

import pathlib
import struct
from collections.abc import Mapping


def server_properties(
  port: int,
  controller_port: int,
  data: pathlib.Path,
  properties: Mapping[str, str] = {},
) -> str:
  """The node's `server.properties`: broker and controller in one (KRaft), on loopback.

  Args:
    port: where clients connect, by the listener CLIENTS.
    controller_port: where the node talks to itself.
    data: folder of its logs.
    properties: more of them, or others.
  """
  settings = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
    "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT",
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
    **properties,
  }
  return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: object) -> str:
  """A value as Java reads it from a file of properties."""
  units = str(value).replace("\\", "\\\\").encode("utf-16-be", "surrogatepass")
  return "".join(
    chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}"
    for (unit,) in struct.iter_unpack(">H", units)
  )
