"""The jars of Apache Kafka, which Maven fetches once for all clones of a machine.

`third_party/kafka/pom.xml` says which, and `jars.sha256` how each must look.
"""

import hashlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

from monolith.native_training.local_files import file_lock
from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)

_THIRD_PARTY = pathlib.Path(__file__).parents[3] / "third_party" / "kafka"
_LAST_LINES = 10
_POLL_SECONDS = 0.1
# Maven itself waits for half an hour. The names are those of its versions.
_CONNECT_MS = 10_000
_SILENCE_MS = 60_000
_LIMITS = {
  "aether.connector.connectTimeout": _CONNECT_MS,
  "aether.connector.requestTimeout": _SILENCE_MS,
  "maven.wagon.http.connectionTimeout": _CONNECT_MS,
  "maven.wagon.rto": _SILENCE_MS,
}


class JarsMissing(Exception):
  """Kafka's jars cannot be had; the message says what to do."""


def ensure(check: Callable[[], object] = lambda: None) -> pathlib.Path:
  """The folder of the jars, which are fetched where it is not there.

  It is `~/.cache/monolith/kafka-KEY` (or below `XDG_CACHE_HOME`), with a key that
  stands for `jars.sha256`.

  Args:
    check: called again and again while they are fetched; ends that by what it raises.

  Raises:
    JarsMissing: the folder has a name that Java cannot take, Maven is missing or fails,
      or a jar is not the one that is wanted.
  """
  pom, sums = _THIRD_PARTY / "pom.xml", _THIRD_PARTY / "jars.sha256"
  base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  root = pathlib.Path(base) / "monolith"
  key = hashlib.sha256(sums.read_bytes()).hexdigest()[:16]
  folder = root / f"kafka-{key}"
  if os.pathsep in str(folder):
    raise JarsMissing(
      f"Apache Kafka cannot run from {folder}: Java takes a colon for the end of a "
      "folder's name; set XDG_CACHE_HOME to a folder without one"
    )
  if folder.is_dir():
    return folder
  root.mkdir(parents=True, exist_ok=True)
  with file_lock.locked(root / f"kafka-{key}.lock", check):
    if not folder.is_dir():
      for left in root.glob(f"kafka-{key}.*/"):  # Of processes that were killed.
        shutil.rmtree(left, ignore_errors=True)
      scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"kafka-{key}.", dir=root))
      try:
        _fetch(pom, scratch, check)
        _check(sums, scratch)
        scratch.rename(folder)
      finally:
        shutil.rmtree(scratch, ignore_errors=True)
  return folder


def _fetch(
  pom: pathlib.Path, folder: pathlib.Path, check: Callable[[], object]
) -> None:
  maven = shutil.which("mvn")
  if not maven:
    raise JarsMissing(
      "Apache Kafka is fetched by Maven, and there is no mvn: install the system "
      "package `maven` (apt-get install maven)"
    )
  print("Apache Kafka: fetching 43 MB by Maven, once", file=sys.stderr, flush=True)
  command = [maven, "--quiet", "--batch-mode", f"--file={pom}"]
  command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
  command += [f"-D{name}={limit}" for name, limit in _LIMITS.items()]
  try:
    with LocalProcesses(lambda name, line: None) as processes:
      processes.start("maven", command, dict(os.environ))
      while processes.running():
        check()
        time.sleep(_POLL_SECONDS)
      processes.check()
  except ProcessFailed as failure:
    lines = "\n".join(failure.last_lines[-_LAST_LINES:])
    raise JarsMissing(f"Maven could not fetch Apache Kafka:\n{lines}") from None


def _check(sums: pathlib.Path, folder: pathlib.Path) -> None:
  """Raises JarsMissing unless the folder has just the jars that are listed."""
  wanted = dict(reversed(line.split()) for line in sums.read_text().splitlines())
  got = {
    jar.name: hashlib.sha256(jar.read_bytes()).hexdigest()
    for jar in folder.glob("*.jar")
  }
  for name in sorted(wanted.keys() | got.keys()):
    if wanted.get(name) != got.get(name):
      raise JarsMissing(
        f"{name} has SHA-256 {got.get(name, 'none: it is missing')}, and {sums.name} "
        f"wants {wanted.get(name, 'none of that name')}"
      )
