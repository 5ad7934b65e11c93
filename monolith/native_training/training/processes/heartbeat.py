"""The chief's sign of life to those who have no connection to the job, the evaluator
and other chiefs: a file in `model_dir` that it rewrites again and again."""

import contextlib
import dataclasses
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.training.checkpoints import storage

_FILE = "chief.alive"
_BEAT_SECS = 5.0
_LOOK_SECS = 0.2


@dataclasses.dataclass(frozen=True)
class Sign:
  """What the file says.

  Attributes:
    pid: of the chief's process, on its machine.
    time: seconds since 1970, by its clock.
    job: which job's chief it is.
    chief: a name of its own, which no other has, nor the same one started again.
    term: counts the chiefs that have had the folder, one after another.
    ends: whether the job comes to its end, and nothing is left but to let all leave.
    failures: of workers without which it has ended.
    has_left: whether the chief has, in order. The file stays for its term: an earlier
      chief that stood still until then learns from it that it is not the last.
  """

  pid: int = 0
  time: float = 0.0
  job: str = ""
  chief: str = ""
  term: int = 0
  ends: bool = False
  failures: tuple[str, ...] = ()
  has_left: bool = False

  @classmethod
  def of(cls, text: str) -> "Sign":
    """What a text says; nothing where it is none of ours."""
    try:
      said = json.loads(text)
      return cls(
        int(said["pid"]),
        float(said["time"]),
        str(said["job"]),
        str(said["chief"]),
        int(said["term"]),
        bool(said["ends"]),
        tuple(map(str, said["failures"])),
        bool(said.get("has_left")),
      )
    except (KeyError, TypeError, ValueError):
      return cls()

  def text(self) -> str:
    return json.dumps(dataclasses.asdict(self)) + "\n"

  def is_after(self, other: "Sign") -> bool:
    """Whether it is that of a chief that has begun after another. Of two that have
    begun at once all agree on one."""
    return (self.term, self.chief) > (other.term, other.chief)


class Heartbeat:
  """Beats from a thread of its own.

  Attributes:
    was_ending: whether an earlier chief of the same job has left the file behind when
      the job came to its end, which it has then seen nearly all of.
    failures: of workers without which the job had ended then.
  """

  def __init__(self, path: str, job: str, left_behind: Sign):
    is_same = left_behind.job == job
    self.was_ending = left_behind.ends and is_same
    self.failures = left_behind.failures if self.was_ending else ()
    self._path = path
    self._sign = Sign(
      os.getpid(),
      time.time(),
      job,
      uuid.uuid4().hex,
      left_behind.term + 1,
      # What has ended does so until this one says something else.
      self.was_ending,
      self.failures,
    )
    self._other: Sign | None = None
    self._lock = threading.Lock()
    self._stop = threading.Event()
    self._beat()
    self._thread = threading.Thread(target=self._beat_on, daemon=True)
    self._thread.start()

  def job_ends(self, failures: Sequence[str] = ()) -> None:
    """Notes that nothing is left but to let everybody leave.

    Args:
      failures: of workers without which the job ends.
    """
    self._say(ends=True, failures=tuple(failures))

  def job_goes_on(self) -> None:
    """Notes that the end of an earlier chief's job was none."""
    self._say(ends=False, failures=())

  def check(self) -> None:
    """Looks for another chief in what was seen at the last beat.

    Raises:
      RuntimeError: one has begun after this one, which has to leave.
    """
    if self._other:
      raise RuntimeError(
        "another chief trains in the same model_dir: process "
        f"{self._other.pid} of its machine has begun after this one, as {self._path} "
        "shows. This one saves nothing any more and leaves, because two would spoil "
        "each other's checkpoints. Was it started again while it was cut off?"
      )

  def look(self) -> None:
    """Looks for another chief in the file. Raises as `check` does."""
    with self._lock:
      self._look()
    self.check()

  def stop(self, failed: bool = False) -> None:
    """Ends the beats, and notes that the chief has left.

    Args:
      failed: whether the chief leaves by an exception. What it has said of the job's
        end stays then for the next one.
    """
    self._stop.set()
    self._thread.join()
    if not (failed and self._sign.ends):
      self._say(ends=False, failures=(), has_left=True)

  def _say(self, **words) -> None:
    with self._lock:
      self._sign = dataclasses.replace(self._sign, **words)
    self._beat()

  def _beat_on(self) -> None:
    while not self._stop.wait(_BEAT_SECS):
      self._beat()

  def _look(self) -> None:
    found = Sign.of(_read(self._path))
    if found.chief and found.is_after(self._sign):
      self._other = found

  def _beat(self) -> None:
    with self._lock:
      self._look()
      if self._other:
        return
      self._sign = dataclasses.replace(self._sign, time=round(time.time(), 3))
      try:
        storage.replace_file(self._path, self._sign.text(), flush=False)
      except tf.errors.OpError as error:
        # Storage that is full or away must not end the training.
        logging.warning("cannot write %s: %s", self._path, error.message)
        if self._sign.has_left:  # What it says is true no more.
          with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(self._path)


@contextlib.contextmanager
def beating(model_dir: str, job: str | None) -> Iterator[Heartbeat]:
  """Beats until the block is left, for whatever reason.

  Args:
    job: names the job, to other chiefs that are given the same folder. None is a job
      that nobody takes up: a chief of that name which is there already is another's.

  Raises:
    RuntimeError: another job's chief lives.
  """
  path = os.path.join(model_dir, _FILE)
  if job is None:
    job = f"alone {uuid.uuid4().hex}"
  left_behind = _check_alone(path, job)
  tf.io.gfile.makedirs(model_dir)
  heartbeat = Heartbeat(path, job, left_behind)
  try:
    yield heartbeat
  except BaseException:
    heartbeat.stop(failed=True)
    raise
  heartbeat.stop()


def is_ending(model_dir: str) -> bool:
  """Whether a chief says that nothing is left of its job but to let all leave, and to
  export what it has saved. One that was killed then has left that behind."""
  return Sign.of(_read(os.path.join(model_dir, _FILE))).ends


def _check_alone(path: str, job: str) -> Sign:
  """Waits until it is certain that no other job's chief lives: one that was killed has
  left a file behind that changes no more. Returns what the file says."""
  content = _read(path)
  if not content and tf.io.gfile.exists(path):  # Just being written.
    time.sleep(_LOOK_SECS)
    content = _read(path)
  sign = Sign.of(content)
  if not content or sign.has_left or sign.job == job:
    return sign
  logging.warning("looking whether the chief of another job lives, as %s says", path)
  give_up = time.monotonic() + 2 * _BEAT_SECS + 1
  while time.monotonic() < give_up:
    time.sleep(_LOOK_SECS)
    now = _read(path)
    latest = Sign.of(now)
    if latest.has_left:
      return latest
    if now and now != content:
      raise RuntimeError(
        f"another job trains in the same model_dir: its chief, process "
        f"{latest.pid} of its machine, is alive, as {path} shows. Two jobs "
        "would spoil each other's checkpoints; end one of them, or give it another "
        "model_dir"
      )
  return sign


def _read(path: str) -> str:
  with contextlib.suppress(tf.errors.OpError, UnicodeDecodeError):
    return storage.read_file(path).decode()
  return ""


class HeartbeatWatch:
  """Tells for how long a chief has given no sign of life.

  Looks at whether the file's content changes, so that clocks of two machines need not
  agree.
  """

  def __init__(self, model_dir: str):
    self._path = os.path.join(model_dir, _FILE)
    self._content: str | None = None
    self._changed = time.monotonic()

  def silent_secs(self) -> float:
    """Seconds since the sign was last seen to change, or since this watch began."""
    content = _read(self._path)
    if content and content != self._content:
      self._content = content
      self._changed = time.monotonic()
    return time.monotonic() - self._changed
