"""Apache Kafka on this machine: one node, for people and tests without a cluster."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping

from monolith.native_training.local_broker import broker_settings, kafka_jars
from monolith.native_training.local_files import file_lock
from monolith.native_training.local_runner import local_cluster
from monolith.native_training.local_runner.local_processes import LocalProcesses

_NAME = "kafka"
_HOST = "127.0.0.1"
_OLDEST_JAVA = 17
_READY = "Kafka Server started"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PROPERTIES = "server.properties"
# In a folder of ours, and locked while a broker runs there: Kafka's own folders of
# settings have server.properties, too.
_MARK = "monolith-local-broker"
_LAST_LINES = 15
# Of a stack trace. The last one tells the cause of those before.
_REASON = re.compile(r"(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)")
# A random one of Kafka's making would do as well; a node has to keep its own.
_CLUSTER_ID = "bW9ub2xpdGgtYnJva2VyMQ"


class BrokerFailed(Exception):
  """The broker cannot run; the message says why and what to do."""


class LocalBroker:
  """A broker that runs as long as the context lasts.

  It listens on loopback only, without encryption or authentication unless `properties`
  ask for them. Used from one thread, which has to live as long as the broker: it is
  ended with its parent.

  Args:
    port: where clients connect; 0 takes a free one.
    data_dir: where topics are kept, which is made if need be, of one broker at a time;
      `''` is a temporary folder, removed at the end.
    check: called again and again while it starts; ends that by what it raises.
    properties: what its `server.properties` have beside or instead of ours; clients
      come to the listener CLIENTS.
    log_dir: folder of `kafka.log`, all that it says; `''` is `data_dir`.

  Attributes:
    port: where clients connect.
  """

  def __init__(
    self,
    port: int = 0,
    data_dir: str = "",
    check: Callable[[], object] = lambda: None,
    properties: Mapping[str, str] = {},
    log_dir: str = "",
  ):
    self._is_temporary = not data_dir
    self._log_dir = log_dir or data_dir
    self.port = port or local_cluster.free_ports(1)[0]
    self._data_dir = data_dir
    self._check = check
    self._properties = dict(properties)
    self._lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    self._reason = ""
    self._is_ready = False
    self._processes = LocalProcesses(self._on_line)
    self._lock: contextlib.ExitStack | None = None

  @property
  def bootstrap_servers(self) -> str:
    """`host:port`, for clients."""
    return f"{_HOST}:{self.port}"

  def __enter__(self) -> LocalBroker:
    try:
      self.start()
    except BaseException:
      self.__exit__()
      raise
    return self

  def __exit__(self, *exception) -> None:
    self._processes.stop(grace_seconds=_STOP_SECONDS)
    if self._lock:
      self._lock.close()
      self._lock = None
    if self._is_temporary and self._data_dir:
      shutil.rmtree(self._data_dir, ignore_errors=True)

  def start(self) -> None:
    """Starts the broker and returns when clients can connect.

    Raises:
      BrokerFailed: Java or Maven is missing, the port is taken, the folder cannot be
        used, or Kafka does not start.
    """
    java = self._java()
    jars = self._jars()
    _check_is_free(self.port)
    folder = self._prepare_folder()
    base = [java, "-Xmx512m", "-cp", f"{jars}/*"]
    properties = folder / _PROPERTIES
    controller_port = local_cluster.free_ports(1)[0]
    properties.write_text(
      broker_settings.server_properties(
        self.port, controller_port, folder, self._properties
      )
    )
    code, lines = self._run(
      [*base, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
      + [f"--config={properties}", f"--cluster-id={_CLUSTER_ID}"]
    )
    if code:
      said = "\n".join(lines[-_LAST_LINES:])
      raise BrokerFailed(f"Kafka could not prepare its folder:\n{said}")
    self._processes = LocalProcesses(self._on_line, self._log_dir)
    self._is_ready, self._reason = False, ""
    command = [*base, "kafka.Kafka", str(properties)]
    self._processes.start(_NAME, command, _environment())
    self._wait_until_ready()

  def kill(self) -> None:
    """Ends the broker at once, with SIGKILL; `restart` goes on with its topics."""
    self._processes.kill(_NAME)
    while self._processes.running():
      time.sleep(_POLL_SECONDS)

  def restart(self) -> None:
    """Starts a broker that was killed again, on the same port and topics."""
    self.start()

  def check(self) -> None:
    """Raises BrokerFailed if the broker has ended."""
    if not self._processes.running():
      raise BrokerFailed(self._why("Kafka has ended"))

  def _java(self) -> str:
    java = shutil.which("java")
    if not java:
      raise BrokerFailed(
        f"Apache Kafka needs Java {_OLDEST_JAVA} or newer, and there is no java: "
        "install the system package `default-jre-headless` (apt-get install "
        "default-jre-headless)"
      )
    _, lines = self._run([java, "-version"])
    version = re.search(r'version "(\d+)', "\n".join(lines))
    if not version or int(version[1]) < _OLDEST_JAVA:
      said = (lines or ["nothing"])[0]
      raise BrokerFailed(
        f"Apache Kafka needs Java {_OLDEST_JAVA} or newer; {java} -version says {said}"
      )
    return java

  def _run(self, command: list[str]) -> tuple[int, list[str]]:
    """Runs a program to its end; returns its exit code and what it printed. Ctrl-C does
    not come to it, so that it does not fail of that, but ends it by `check`."""
    lines: list[str] = []
    with LocalProcesses(lambda name, line: lines.append(line)) as processes:
      processes.start(_NAME, command, _environment())
      while processes.running():
        self._check()
        time.sleep(_POLL_SECONDS)
    return processes.exit_codes()[_NAME], lines

  def _jars(self) -> pathlib.Path:
    try:
      return kafka_jars.ensure(self._check)
    except (kafka_jars.JarsMissing, OSError) as error:
      raise BrokerFailed(str(error)) from None

  def _prepare_folder(self) -> pathlib.Path:
    """Makes the data folder; nothing of anybody else's may be in it."""
    if not self._data_dir:
      self._data_dir = tempfile.mkdtemp(prefix="monolith-kafka-")
    folder = pathlib.Path(self._data_dir).absolute()
    if "," in str(folder):
      raise BrokerFailed(
        f"cannot keep topics in {folder}: Kafka takes a comma for the end of a "
        "folder's name; name a folder without one"
      )
    try:
      folder.mkdir(parents=True, exist_ok=True)
      if any(folder.iterdir()) and not (folder / _MARK).exists():
        raise BrokerFailed(
          f"{folder} has files, but not of a broker of ours: name an empty folder or "
          "one that does not exist yet"
        )
      self._hold(folder)
      with tempfile.TemporaryFile(dir=folder):
        pass
    except OSError as error:
      raise BrokerFailed(f"cannot keep topics in {folder}: {error}") from None
    return folder

  def _hold(self, folder: pathlib.Path) -> None:
    """Keeps other brokers out of a folder for as long as this one lives."""
    if self._lock:
      return  # It was killed, and starts again.

    def refuse() -> None:
      raise BrokerFailed(
        f"a broker runs on {folder} already: end it, or name another folder"
      )

    with contextlib.ExitStack() as lock:
      lock.enter_context(file_lock.locked(folder / _MARK, refuse))
      self._lock = lock.pop_all()

  def _on_line(self, name: str, line: str) -> None:
    del name
    self._lines.append(line)
    if reason := _REASON.match(line):
      self._reason = reason[1]
    if _READY in line:
      self._is_ready = True

  def _wait_until_ready(self) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not (self._is_ready and _answers(self.port)):
      if not self._processes.running():
        raise BrokerFailed(self._why("Kafka did not start"))
      if time.monotonic() > give_up:
        raise BrokerFailed(self._why(f"Kafka was not up in {_START_SECONDS:.0f} s"))
      self._check()
      time.sleep(_POLL_SECONDS)

  def _why(self, what: str) -> str:
    """A message: how it ended, the reason, and where to read on."""
    failure = next(iter(self._processes.failures()), None)  # It has said all by now.
    is_killed = failure is not None and failure.exit_code < 0
    how = f" ({failure.how})" if failure else ""
    reason = f": {self._reason}" if self._reason and not is_killed else ""
    log = (
      f" All that it said is in {self._log_dir}/{_NAME}.log." if self._log_dir else ""
    )
    text = f"{what}{how}{reason}.{log}"
    if is_killed or (reason and log):
      return text
    return "\n".join([f"{text} What it said last:", *self._lines])


def _environment() -> dict[str, str]:
  """Java's: by the locale it knows how names of files are written."""
  return {**os.environ, "LC_ALL": "C.UTF-8"}


def _check_is_free(port: int) -> None:
  try:
    local_cluster.check_is_free(port)
  except OSError as error:
    raise BrokerFailed(
      f"port {port} cannot be had ({error.strerror}): end what uses it, or name "
      "another one, or 0 for a free one"
    ) from None


def _answers(port: int) -> bool:
  try:
    socket.create_connection((_HOST, port), timeout=1).close()
    return True
  except OSError:
    return False
