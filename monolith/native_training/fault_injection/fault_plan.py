"""Which faults the rounds of a run have: all that chance decides, from a seed."""

from __future__ import annotations

import dataclasses
import random

from monolith.native_training.fault_injection import save_phases

NOTHING = "none"
RANDOM = "at random"
TABLE_FILE = "writing a table file"
DENSE_FILE = "writing a dense file"
FILES = (TABLE_FILE, DENSE_FILE)

WORKER = "worker"
SERVER = "server"
CHIEF = "chief"
ALL = "all"

_PHASES = (
  save_phases.BEFORE_SAVE,
  TABLE_FILE,
  save_phases.BEFORE_DENSE,
  DENSE_FILE,
  save_phases.BEFORE_MANIFEST,
  save_phases.AFTER_MANIFEST,
  save_phases.HALF_REMOVED,
  save_phases.REPLACING,
  save_phases.IN_LAST_SAVE,
  save_phases.AFTER_LAST_SAVE,
  *save_phases.AT_THE_END,
)
_VICTIMS = (WORKER, SERVER, CHIEF, ALL)
_AT_RANDOM = [(RANDOM, victim) for victim in _VICTIMS]
_IN_A_SAVE = [
  (phase, victim)
  for phase in _PHASES
  for victim in ((CHIEF, ALL) if phase in save_phases.AT_THE_END else _VICTIMS)
]
KINDS = (*_AT_RANDOM, *_IN_A_SAVE)
HANDFUL = len(_AT_RANDOM) + len(_PHASES)

# Random moments: some in the first seconds, the others before so much is trained.
_STARTING_SHARE = 0.15
_STARTING_SECONDS = 8.0
_LATEST_SHARE = 0.8
# What has to be waited for comes several times after these.
_LATEST_FILE_SHARE = 0.5
_LATEST_SAVE = 4
_LATEST_REMOVAL = 2


@dataclasses.dataclass(frozen=True)
class Fault:
  """What a round kills, and when.

  Attributes:
    when: `NOTHING`, `RANDOM`, one of `FILES` or of `save_phases.PHASES`.
    victim: `WORKER` (that is not chief), `SERVER`, `CHIEF`, `ALL`, or `""`.
    server: which server, where it is one.
    share: of all steps; at a random moment or while a file is written, not before so
      many are done. 0 is from the beginning.
    seconds: how much later, at a random moment.
    save: the phase's first, second, ... time.
  """

  when: str = NOTHING
  victim: str = ""
  server: int = 0
  share: float = 0.0
  seconds: float = 0.0
  save: int = 1


def faults(rounds: int, seed: int, servers: int) -> list[Fault]:
  """Draws the faults of a run.

  Args:
    rounds: how many. The first `HANDFUL` have every victim at a random moment and every
      phase of a save, the first `len(KINDS)` every kind; then it begins anew.
    seed: the same one draws the same faults.
    servers: of the job.
  """
  chance = random.Random(seed)
  kinds: list[tuple[str, str]] = []
  while len(kinds) < rounds:
    first = [chance.choice([k for k in _IN_A_SAVE if k[0] == p]) for p in _PHASES]
    first += _AT_RANDOM
    others = [kind for kind in KINDS if kind not in first]
    for some in (first, others):
      chance.shuffle(some)
      kinds += some
  # Each from a seed of its own, so that more rounds begin with the same ones.
  return [
    _fault(random.Random(f"{seed} {i}"), *kind, servers)
    for i, kind in enumerate(kinds[:rounds])
  ]


def _fault(chance: random.Random, when: str, victim: str, servers: int) -> Fault:
  starting = when == RANDOM and chance.random() < _STARTING_SHARE
  latest = _LATEST_FILE_SHARE if when in FILES else _LATEST_SHARE
  last = {
    save_phases.HALF_REMOVED: _LATEST_REMOVAL,
    save_phases.REPLACING: 1,
    **dict.fromkeys(save_phases.ONCE, 1),
  }.get(when, _LATEST_SAVE)
  return Fault(
    when,
    victim,
    server=chance.randrange(servers),
    share=0.0 if starting else chance.uniform(0.01, latest),
    seconds=chance.uniform(0, _STARTING_SECONDS if starting else 1.0),
    save=chance.randint(1, last),
  )
