"""Runs of the demo with programs that only seem to train."""

import contextlib
import io
import json
import os
import sys
from typing import TextIO

from absl.testing import absltest, flagsaver

from monolith.native_training.local_runner import local_cluster
from monolith.native_training.local_runner.training_progress import (
  JobProgress,
  ProgressFiles,
)
from monolith.native_training.movie_ranking.demo import demo_job, demo_local_runner

# Stands for the programs that train and evaluate. What it does is in $BEHAVIOUR; in the
# folder $MARKS processes tell each other how far they are.
_CHILD = """
import json, os, signal, sys, time
arguments = dict(a[2:].split("=", 1) for a in sys.argv[2:])
role = "evaluation"
if sys.argv[1] == "train":
  task = json.loads(os.environ["TF_CONFIG"])["task"]
  role = f"{task['type']} {task['index']}"
behaviours = json.loads(os.environ["BEHAVIOUR"])
behaviour = behaviours.get(role, "")

def mark(what):
  return os.path.join(os.environ["MARKS"], what)

def report(**content):
  path = arguments["progress_file"]
  with open(path + ".tmp", "w") as file:
    json.dump(content, file)
  os.rename(path + ".tmp", path)
  while content["state"] == "training" and seen() != content:
    time.sleep(0.01)

def seen():
  try:
    with open(arguments["progress_file"] + ".seen") as file:
      return json.load(file)
  except FileNotFoundError:
    return None

if role == "worker 0":
  print("W1123 17:20:42.145242 139706958789504 ratings.py:119] no MovieLens today")
  print("I0000 00:00:1795455091.414989    2883 cudart_stub.cc:31] no GPU")
if behaviour == "fail_once":
  if not os.path.exists(mark(role + " has failed")):
    open(mark(role + " has failed"), "w").close()
    if role.startswith("worker"):
      report(state="training", batches=30, position=30, examples=300)
    os.kill(os.getpid(), 9)
if behaviour == "tell_flags":
  path = arguments["flagfile"]
  print(f"the command line is {' '.join(sys.argv)}")
  print(f"the file is {os.stat(path).st_mode & 0o777:o} and has {open(path).read()}")
if behaviour == "save_slowly":
  def save(signum, frame):
    time.sleep(5)  # More than processes have that end for another reason.
    open(os.path.join(arguments["model_dir"], "saved"), "w").close()
    sys.exit(143)
  signal.signal(signal.SIGTERM, save)
  print("ready to save", flush=True)
  time.sleep(600)
if behaviour == "tell_why":
  open(mark(role + " has ended"), "w").close()
  sys.exit("train: 9 of 10 are bad")
if behaviour == "fail":
  print("a line")
  sys.exit("something is wrong")
if role == "evaluation":
  while not os.path.exists(arguments["wait_for"]):
    time.sleep(0.01)
  with open(arguments["output"], "w") as file:
    json.dump({"rank/rmse": 0.875, "examples": 10}, file)
elif role.startswith("worker"):
  report(state="training", examples=1, loss=1.5)
  if behaviour == "last":
    for other in behaviours.keys() - {role}:
      while not os.path.exists(mark(other + " has ended")):
        time.sleep(0.01)
  time.sleep(0.5)
  if behaviour == "hang":
    time.sleep(600)
  examples = 0 if behaviour == "nothing" else 500
  counts = {"batches": examples // 10, "position": examples // 10}
  if behaviour == "fail_once":
    examples = 300
    counts = {"batches": 30, "position": 50}
  report(
    state="done", examples=examples, tables={"mov": 3}, table_bytes={"mov": 4000},
    **counts,
  )
elif behaviour == "stay":
  time.sleep(600)
else:
  time.sleep(0.2)
if behaviour == "fail_once":
  open(mark(role + " has ended"), "w").close()
"""


class _ProgressFilesSeen(ProgressFiles):
  """Tells the workers which contents of their files were read; they wait for that while
  they train, so that nothing is overlooked."""

  def read(self) -> JobProgress:
    contents = {}
    for path in filter(os.path.exists, self._paths):
      with open(path, "rb") as file:
        contents[path] = file.read()
    progress = super().read()
    for path, content in contents.items():
      with open(f"{path}.seen.tmp", "wb") as file:
        file.write(content)
      os.rename(f"{path}.seen.tmp", f"{path}.seen")
    return progress


def two_free_ports() -> int:
  """The first of two ports in a row."""
  ports: set[int] = set()
  while True:
    ports.update(local_cluster.free_ports(100))
    for port in ports:
      if port + 1 in ports:
        return port


class DemoTestCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.enter_context(
      flagsaver.flagsaver(model_dir=self.folder, num_ps=2, num_workers=2)
    )
    self.enter_context(
      absltest.mock.patch.object(
        demo_job, "_python", lambda *a: [sys.executable, "-c", _CHILD, *a]
      )
    )
    self.enter_context(
      absltest.mock.patch.object(demo_job, "ProgressFiles", _ProgressFilesSeen)
    )

  def run_demo(self, **behaviour: str) -> tuple[int, str]:
    """The exit code, and all that is printed."""
    output = io.StringIO()
    with contextlib.redirect_stderr(output):
      return self.start_demo(output, **behaviour), output.getvalue()

  def start_demo(self, output: TextIO, **behaviour: str) -> int:
    """The exit code; what is printed goes to `output`."""
    named = {name.replace("_", " "): what for name, what in behaviour.items()}
    variables = {
      "BEHAVIOUR": json.dumps(named),
      "MARKS": self.create_tempdir().full_path,
    }
    with (
      absltest.mock.patch.dict(os.environ, variables),
      contextlib.redirect_stdout(output),
    ):
      return demo_local_runner.main(["demo"])
