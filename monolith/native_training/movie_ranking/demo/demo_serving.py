"""What `--serve` adds to the demo: a model server with the model just trained."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from monolith.native_training.local_runner import http_probe, log_lines
from monolith.native_training.local_runner.console import Console
from monolith.native_training.local_runner.local_processes import LocalProcesses
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.movie_ranking.demo import demo_flags, demo_ports
from monolith.native_training.movie_ranking.demo.run_environment import run_environment

_MODEL = "movie_ranking"
_EXPORT, _SERVER = "export", "model server"
_POLL_SECONDS = 0.1
_STOP_SECONDS = 25.0  # For requests that were begun.


def serve(
  console: Console,
  signals: StopSignals,
  model_flags: Sequence[str],
  model_dir: str,
  run_dir: str,
) -> None:
  """Exports the model and serves it until a signal comes.

  Args:
    console: shows how it gets on, and a `curl` line that asks the server.
    signals: end it.
    model_flags: describe the model to the programs of this folder.
    model_dir: of the model.
    run_dir: is removed afterwards.

  Raises:
    ProcessFailed: the export or the server.
    Stopped: before the server was ready.
  """
  request = os.path.join(run_dir, "request.json")
  logs = os.path.join(model_dir, "logs")

  def show_line(name: str, line: str) -> None:
    if text := log_lines.shown(line):
      console.line(text, name)

  with LocalProcesses(show_line, logs, stop_seconds=_STOP_SECONDS) as processes:
    module = "monolith.native_training.movie_ranking.export_ratings_model"
    command = [sys.executable, "-m", module, *model_flags, f"--output={request}"]
    processes.start(_EXPORT, command, run_environment(run_dir))
    while _EXPORT in processes.running():
      _poll(processes, signals)
    processes.check()
    processes.start(_SERVER, _server_command(model_dir), run_environment(run_dir))
    while not http_probe.is_answered(f"{_url()}/health"):
      _poll(processes, signals)
    with open(request, encoding="utf-8") as file:
      body = file.read()
    console.line(
      f"the model is served, over gRPC at {demo_ports.HOST}:{_port()}; ask it with"
    )
    console.line(f"  curl -d '{body}' {_url()}/v1/models/{_MODEL}:predict")
    console.line("until you press Ctrl-C")
    try:
      while True:
        _poll(processes, signals)
    except Stopped:
      processes.stop(grace_seconds=_STOP_SECONDS)
      console.line("the model server has ended")


def _poll(processes: LocalProcesses, signals: StopSignals) -> None:
  signals.check()
  processes.check()
  time.sleep(_POLL_SECONDS)


def _server_command(model_dir: str) -> list[str]:
  return [
    *(sys.executable, "-m", "monolith.serving.model_server"),
    f"--model_name={_MODEL}",
    f"--model_base_path={os.path.join(model_dir, 'exported_models')}",
    f"--port={_port()}",
    f"--rest_api_port={demo_flags.SERVE_REST_API_PORT.value}",
    "--enable_batching",
  ]


def _port() -> int:
  return demo_flags.SERVE_PORT.value


def _url() -> str:
  return f"http://{demo_ports.HOST}:{demo_flags.SERVE_REST_API_PORT.value}"
