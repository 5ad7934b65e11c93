"""What the rounds of a run kill, and when: all that chance decides, from a seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from monolith.native_training.stream_delivery import asked

WORKER = "worker"
CHIEF = "chief"
SERVER = "server"
BROKER = "broker"
VICTIMS = (WORKER, SERVER, BROKER, CHIEF)

_EARLIEST_SHARE = 0.15
_LATEST_SHARE = 0.85
_LONGEST_OUTAGE_SECS = 3.0


@dataclasses.dataclass(frozen=True)
class Kill:
  """One kill in mid-stream.

  Attributes:
    victim: one of `VICTIMS`; `WORKER` is one that is not chief.
    server: which server, where it is one.
    after_secs: since the first message was sent.
    outage_secs: how long a broker stays away, beside the time that it takes to start.
  """

  victim: str
  server: int
  after_secs: float
  outage_secs: float


def kills(rounds: int, seed: int, victims: Sequence[str] = VICTIMS) -> list[Kill]:
  """Draws a kill for each round, each victim as often as the others.

  Args:
    rounds: how many.
    seed: the same one draws the same; more rounds begin with the same ones.
    victims: in turn.
  """
  return [
    _kill(random.Random(f"{seed} {i}"), victims[i % len(victims)])
    for i in range(rounds)
  ]


def _kill(chance: random.Random, victim: str) -> Kill:
  share = chance.uniform(_EARLIEST_SHARE, _LATEST_SHARE)
  return Kill(
    victim,
    server=chance.randrange(asked.SERVERS),
    after_secs=share * asked.SEND_SECS,
    outage_secs=chance.uniform(0, _LONGEST_OUTAGE_SECS),
  )
