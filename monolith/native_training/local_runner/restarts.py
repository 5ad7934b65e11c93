"""Processes that are started again when they fail, with a pause that grows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)


@dataclasses.dataclass(frozen=True)
class RestartPolicy:
  """When a process that has failed is started again.

  Attributes:
    first_pause_seconds: between a failure and the restart; twice as long each time.
    longest_pause_seconds: it grows no further.
    good_seconds: a process that has run for so long has left its failures behind: pause
      and count begin anew.
    max_restarts: without such a run in between; then the process is given up.
  """

  first_pause_seconds: float = 1.0
  longest_pause_seconds: float = 30.0
  good_seconds: float = 60.0
  max_restarts: int = 10

  def pause_seconds(self, restarts: int) -> float | None:
    """The pause before the next restart.

    Args:
      restarts: how many there were since the process last ran well.

    Returns:
      The pause, or None where the process is given up.
    """
    if restarts >= self.max_restarts:
      return None
    # The exponent is bounded, because a float's is.
    pause = self.first_pause_seconds * 2.0 ** min(restarts, 64)
    return min(pause, self.longest_pause_seconds)


class RestartingProcesses(LocalProcesses):
  """`LocalProcesses` some of which are started again when they fail.

  They are started by `check`, which therefore has to be called several times a second
  and never waits for a pause to pass. A process that waits for its restart counts as
  running.

  Args:
    on_line: see `LocalProcesses`.
    log_folder: see `LocalProcesses`; a restarted process appends to its log.
    on_restart: told in a sentence what failed, how, and when it starts again.
    policy: when that is.
    stop_seconds: see `LocalProcesses`.
  """

  def __init__(
    self,
    on_line: Callable[[str, str], None],
    log_folder: str = "",
    on_restart: Callable[[str], None] = lambda sentence: None,
    policy: RestartPolicy = RestartPolicy(),
    stop_seconds: float = 3.0,
  ):
    super().__init__(on_line, log_folder, stop_seconds)
    self._on_restart = on_restart
    self._policy = policy
    self._restarts: dict[str, int] = {}
    self._in_a_row: dict[str, int] = {}
    self._due: dict[str, float] = {}
    self._is_over = False
    self._left: set[str] = set()  # Failed, and that is all right.
    self._needs: dict[str, Sequence[str]] = {}
    self._is_last_attempt: set[str] = set()

  def start(
    self,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    restarts: bool = True,
    needs: Sequence[str] = (),
  ) -> None:
    """Starts a process.

    Args:
      name: unique among the processes.
      command: program and arguments.
      environment: all of its environment variables.
      restarts: whether it is started again when it fails.
      needs: processes without which it has nothing but its own end to come to. Where it
        is started again when all of these have ended well, and fails, it is given up.
    """
    super().start(name, command, environment)
    self._needs[name] = needs
    if restarts:
      self._restarts[name] = 0
      self._in_a_row[name] = 0

  @property
  def restarts(self) -> dict[str, int]:
    """How often each process was started again, of those that are."""
    return dict(self._restarts)

  def end_restarts(self) -> None:
    """From now on nothing is started again, because what the processes were for is
    done: the failure of one that would have been is told and no error."""
    self._leave(self._due)
    self._is_over = True

  def running(self) -> list[str]:
    """Names of the processes that have not ended, or are to be started again."""
    return super().running() + [failure.name for failure in self._to_restart()]

  def check(self) -> None:
    """Starts what is due.

    Raises:
      ProcessFailed: for a process that is not started again, or was too often.
    """
    for failure in self.failures():
      if failure.name not in self._restarts:
        raise failure
      if failure.name not in self._due and failure.name not in self._left:
        self._plan(failure)
    for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
      del self._due[name]
      self._restarts[name] += 1
      self._in_a_row[name] += 1
      codes, needs = self.exit_codes(), self._needs[name]
      if needs and all(codes[needed] == 0 for needed in needs):
        self._is_last_attempt.add(name)
      self.start_again(name)

  def stop(
    self,
    names: Sequence[str] | None = None,
    grace_seconds: float = 3.0,
    is_urgent: Callable[[], bool] = lambda: False,
  ) -> None:
    """Ends processes, see `LocalProcesses.stop`, and does not start them again."""
    waiting = [failure.name for failure in self._to_restart()]
    self._leave(name for name in waiting if names is None or name in names)
    super().stop(names, grace_seconds, is_urgent)

  def _to_restart(self) -> list[ProcessFailed]:
    """The failures that a restart follows, also where `check` has not seen them yet."""
    names = set() if self._is_over else self._restarts.keys() - self._left
    return [failure for failure in self.failures() if failure.name in names]

  def _leave(self, names: Iterable[str]) -> None:
    for name in list(names):
      self._left.add(name)
      self._due.pop(name, None)

  def _plan(self, failure: ProcessFailed) -> None:
    name = failure.name
    if self._is_over:
      self._leave([name])
      self._on_restart(f"{failure} when all was done; it is not started again")
      return
    if failure.ran_seconds >= self._policy.good_seconds:
      self._in_a_row[name] = 0
    if name in self._is_last_attempt:
      self._give_up(
        failure, f" again when {', '.join(self._needs[name])} had ended well"
      )
    pause = self._policy.pause_seconds(self._in_a_row[name])
    if pause is None:
      self._give_up(
        failure,
        f" again after {self._in_a_row[name]} restarts in a row, none of which ran for "
        f"{self._policy.good_seconds:g} s",
      )
    self._due[name] = time.monotonic() + pause
    self._on_restart(
      f"{failure} after {failure.ran_seconds:.0f} s; restart "
      f"{self._restarts[name] + 1} in {pause:g} s"
    )

  def _give_up(self, failure: ProcessFailed, why: str) -> NoReturn:
    raise ProcessFailed(
      failure.name,
      failure.exit_code,
      failure.last_lines,
      failure.ran_seconds,
      f"{why}; it is given up",
    )
