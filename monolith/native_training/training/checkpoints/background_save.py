"""A checkpoint that is saved in a thread, while training goes on."""

import dataclasses
import threading
import time
from collections.abc import Callable

import tensorflow as tf

from monolith.native_training.data.kafka.stream_offsets import Offsets


@dataclasses.dataclass
class Save:
  """One save.

  Attributes:
    session: what it ran in.
    step: the global step of its checkpoint.
    for_servers: parameter servers that leave when it is complete.
    urgent: whether somebody waits for it who may be killed soon.
    hurry_at: by `time.monotonic`, when servers are told again that it became urgent
      while it ran; None if it did not.
    began_at: by `time.monotonic`.
    path: of the checkpoint; None where it is not saved.
    secs: how long that took.
    evicted: rows that were removed before, by table.
    tables: rows and bytes of each table, when all was done.
    offsets: of streams, that the checkpoint covers.
    error: why there is no checkpoint.
  """

  session: tf.compat.v1.Session
  step: int
  for_servers: frozenset[int] = frozenset()
  urgent: bool = False
  hurry_at: float | None = None
  began_at: float = dataclasses.field(default_factory=time.monotonic)
  path: str | None = None
  secs: float = 0.0
  evicted: dict[str, int] | None = None
  tables: dict[str, tuple[int, int]] | None = None
  offsets: Offsets = dataclasses.field(default_factory=dict)
  error: Exception | None = None


THREAD_NAME = "monolith save"


class BackgroundSave:
  """Runs saves in a thread, one at a time. Used from one thread.

  Args:
    save: does a save, and notes in it how far it has come. What it raises becomes the
      `error`.
  """

  def __init__(self, save: Callable[[Save], None]):
    self._save = save
    self._thread: threading.Thread | None = None
    self._current: Save | None = None

  @property
  def is_running(self) -> bool:
    """Whether there is a save that `take_done` has not returned."""
    return self._current is not None

  @property
  def is_busy(self) -> bool:
    """Whether there is one that has not ended."""
    return self._thread is not None and self._thread.is_alive()

  @property
  def current(self) -> Save | None:
    """The save that `take_done` has not returned."""
    return self._current

  def begin(
    self,
    session: tf.compat.v1.Session,
    step: int,
    for_servers: frozenset[int] = frozenset(),
    urgent: bool = False,
  ) -> None:
    """Begins a save.

    Raises:
      RuntimeError: there is one already.
    """
    if self.is_running:
      raise RuntimeError("a save is running already")
    self._current = save = Save(session, step, for_servers, urgent)
    self._thread = threading.Thread(
      target=self._run, args=(save,), name=THREAD_NAME, daemon=True
    )
    self._thread.start()

  def _run(self, save: Save) -> None:
    try:
      # The default graph is a thread's own matter.
      with save.session.graph.as_default():
        self._save(save)
    except Exception as error:
      save.error = error

  def take_done(self) -> Save | None:
    """The save that has ended since this was last called."""
    if self._thread is None or self._thread.is_alive():
      return None
    done, self._current, self._thread = self._current, None, None
    return done

  def wait(self, secs: float | None = None) -> None:
    """Waits until no save is running, or for so many seconds."""
    if self._thread is not None:
      self._thread.join(secs)
