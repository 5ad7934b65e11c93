"""Makes, checks and repairs the virtual environment that Bazel's Python targets use.

The environment lives in a cache folder that all clones and consuming workspaces of
one user share, in a subfolder named by a hash of the locks and of the Python that
makes it. It is complete when its marker file, written last, is there. Everything
happens under a file lock, so that any number of builds may start at once.

Uses the standard library only, because it runs before the environment exists.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

_MARKER = "monolith-complete.json"
_SECONDS_BETWEEN_MESSAGES = 5.0


class EnvironmentCreationError(Exception):
  """The environment could not be made; the message says why and what to do."""


def say(message: str) -> None:
  print(f"Python environment: {message}", file=sys.stderr, flush=True)


def cache_root() -> pathlib.Path:
  """The folder that holds the environments of this user."""
  base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  if not os.path.isabs(base):
    raise EnvironmentCreationError(
      "there is no home folder: set HOME or XDG_CACHE_HOME to a folder to keep the "
      "environment in"
    )
  return pathlib.Path(base) / "monolith"


def environment_key(locks: Sequence[pathlib.Path]) -> str:
  """Names an environment by what determines its content.

  Args:
    locks: the requirement files, in the order of installation.

  Returns:
    A short string that can be part of a file name.
  """
  digest = hashlib.sha256()
  for part in (sys.version, platform.machine(), os.path.realpath(sys.executable)):
    digest.update(part.encode() + b"\0")
  for lock in locks:
    digest.update(lock.read_bytes() + b"\0")
  return digest.hexdigest()[:16]


def fault(environment: pathlib.Path) -> str | None:
  """Says what is wrong with an environment, or None if it is sound."""
  if not environment.is_dir():
    return "it does not exist yet"
  if not (environment / _MARKER).is_file():
    return "its making was interrupted"
  python = environment / "bin" / "python3"
  try:
    subprocess.run(
      [python, "-I", "-c", "import ssl, sysconfig"], check=True, capture_output=True
    )
  except (OSError, subprocess.CalledProcessError):
    return f"{python} does not run"
  site_packages = pathlib.Path(
    json.loads((environment / _MARKER).read_text())["site_packages"]
  )
  records = sorted(site_packages.glob("*.dist-info/RECORD"))
  if not records:
    return f"{site_packages} holds no packages"
  for record in records:
    for line in record.read_text().splitlines():
      path, _, size = line.rpartition(",")
      path = path.rpartition(",")[0].strip('"')
      if path.endswith(".pyc"):
        continue
      try:
        actual = os.stat(site_packages / path).st_size
      except OSError:
        return f"{site_packages / path} is missing"
      if size and actual != int(size):
        return f"{site_packages / path} has {actual} bytes instead of {size}"
  return None


def _die_with_parent() -> None:
  """Ends the child with this process, so that no pip outlives an interrupted build."""
  set_parent_death_signal = 1
  ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _run(command: Sequence[str], on_line: Callable[[str], None]) -> None:
  """Runs a command, feeding its output to `on_line`; raises with the end of it."""
  environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
  environment.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
  tail = []
  with subprocess.Popen(
    command,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=environment,
    preexec_fn=_die_with_parent,
  ) as process:
    for line in process.stdout:
      tail = tail[-19:] + [line]
      on_line(line.strip())
  if process.returncode != 0:
    raise EnvironmentCreationError(
      f"`{' '.join(map(str, command))}` failed:\n{''.join(tail)}"
    )


def _install(python: pathlib.Path, locks: Sequence[pathlib.Path]) -> None:
  """Installs exactly what the locks name, telling the progress now and then."""
  wanted = sum(
    line[:1].isalnum() for lock in locks for line in lock.read_text().splitlines()
  )
  seen = 0
  last_message = time.monotonic()

  def on_line(line: str) -> None:
    nonlocal seen, last_message
    seen += line.startswith(("Collecting ", "Processing "))
    now = time.monotonic()
    if line.startswith("Installing collected packages"):
      say(f"unpacking {seen} packages")
    elif now - last_message > _SECONDS_BETWEEN_MESSAGES:
      say(f"{seen} of up to {wanted} packages")
      last_message = now

  _run(
    [
      *(python, "-I", "-m", "pip", "install", "--disable-pip-version-check"),
      *("--no-input", "--progress-bar", "off", "--require-hashes"),
      # The locks are complete, and packages without a wheel build with the
      # locked build tools instead of ones fetched for the occasion.
      *("--no-deps", "--no-build-isolation", "--no-warn-script-location"),
      *(argument for lock in locks for argument in ("-r", lock)),
    ],
    on_line,
  )


def _make(environment: pathlib.Path, locks: Sequence[pathlib.Path]) -> None:
  """Makes an environment where nothing is; the marker is written last."""
  started = time.monotonic()
  try:
    _run([sys.executable, "-m", "venv", environment], on_line=lambda line: None)
  except EnvironmentCreationError as error:
    raise EnvironmentCreationError(
      f"{error}\n{sys.executable} cannot make virtual environments. Install the "
      "system package `python3-venv`, or run tools/bazel, which does"
    ) from None
  python = environment / "bin" / "python3"
  build_lock, *other_locks = locks
  _install(python, [build_lock])
  _install(python, other_locks)
  code = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"
  site_packages = json.loads(subprocess.check_output([python, "-I", "-c", code]))
  draft = environment / (_MARKER + ".tmp")
  with open(draft, "w") as file:
    json.dump(
      {"python": os.fspath(python), "site_packages": site_packages}, file, indent=2
    )
    file.flush()
    os.fsync(file.fileno())
  draft.rename(environment / _MARKER)
  say(f"ready after {time.monotonic() - started:.0f} s, in {environment}")


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Holds a file lock; other processes may remove the file while they hold it."""
  while True:
    with open(path, "w") as file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        say("waiting for another build that is making it")
        fcntl.flock(file, fcntl.LOCK_EX)
      try:
        still_there = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
      except FileNotFoundError:
        still_there = False
      if still_there:
        yield
        return


def ensure_environment(
  root: pathlib.Path, locks: Sequence[pathlib.Path]
) -> dict[str, str]:
  """Returns a sound environment, which is made or repaired where necessary.

  Args:
    root: cache folder; made if missing.
    locks: requirement files with hashes; the first one names the build tools that the
      packages of the others need.

  Returns:
    `python`, the interpreter, and `site_packages`, the folder of its packages.

  Raises:
    EnvironmentCreationError: what failed and what to do about it.
  """
  environment = root / f"python-{environment_key(locks)}"
  root.mkdir(parents=True, exist_ok=True)
  with _locked(pathlib.Path(f"{environment}.lock")):
    reason = fault(environment)
    if reason:
      say(f"making it, which takes a minute or two, because {reason}")
      # The marker goes first: a removal cut short must not look complete.
      (environment / _MARKER).unlink(missing_ok=True)
      shutil.rmtree(environment, ignore_errors=True)
      _make(environment, locks)
    # tools/bazel takes an environment that changed after its marker for damaged.
    os.utime(environment / _MARKER)
    return json.loads((environment / _MARKER).read_text())


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--result", type=pathlib.Path, help="JSON file to write")
  parser.add_argument("--print-folder", action="store_true", help="say where it is")
  parser.add_argument("locks", nargs="+", type=pathlib.Path)
  flags = parser.parse_args()
  try:
    result = ensure_environment(cache_root(), flags.locks)
  except (EnvironmentCreationError, OSError) as error:
    say(f"could not be made: {error}")
    say("Mend this and build again; what is half done is made anew.")
    return 1
  if flags.result:
    flags.result.write_text(json.dumps(result))
  if flags.print_folder:
    print(pathlib.Path(result["python"]).parent.parent)
  return 0


if __name__ == "__main__":
  sys.exit(main())
