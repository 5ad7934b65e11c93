"""The jars of Apache Kafka, which Maven fetches once for all clones of a machine.

`third_party/kafka/pom.xml` says which, and `jars.sha256` how each must look.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from monolith.native_training.local_files import file_lock

_THIRD_PARTY = pathlib.Path(__file__).parents[3] / "third_party" / "kafka"
_LAST_LINES = 10


class JarsMissing(Exception):
  """Kafka's jars cannot be had; the message says what to do."""


def ensure() -> pathlib.Path:
  """The folder of the jars, which are fetched where it is not there.

  It is `~/.cache/monolith/kafka-KEY` (or below `XDG_CACHE_HOME`), with a key that
  stands for `jars.sha256`.

  Raises:
    JarsMissing: Maven is missing or fails, or a jar is not the one that is wanted.
  """
  pom, sums = _THIRD_PARTY / "pom.xml", _THIRD_PARTY / "jars.sha256"
  base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  root = pathlib.Path(base) / "monolith"
  key = hashlib.sha256(sums.read_bytes()).hexdigest()[:16]
  folder = root / f"kafka-{key}"
  if folder.is_dir():
    return folder
  root.mkdir(parents=True, exist_ok=True)
  with file_lock.locked(root / f"kafka-{key}.lock"):
    if not folder.is_dir():
      scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"kafka-{key}.", dir=root))
      try:
        _fetch(pom, scratch)
        _check(sums, scratch)
        scratch.rename(folder)
      finally:
        shutil.rmtree(scratch, ignore_errors=True)
  return folder


def _fetch(pom: pathlib.Path, folder: pathlib.Path) -> None:
  maven = shutil.which("mvn")
  if not maven:
    raise JarsMissing(
      "Apache Kafka is fetched by Maven, and there is no mvn: install the system "
      "package `maven` (apt-get install maven)"
    )
  print("Apache Kafka: fetching 43 MB by Maven, once", file=sys.stderr, flush=True)
  command = [maven, "--quiet", "--batch-mode", f"--file={pom}"]
  command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    lines = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
    raise JarsMissing("Maven could not fetch Apache Kafka:\n" + "\n".join(lines))


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
