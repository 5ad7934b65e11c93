"""Serves exported models over gRPC and HTTP, as TensorFlow Serving does.

  bazel run //monolith/serving:model_server -- --model_name=ranking \
      --model_base_path=/path/to/model_dir/exported_models --rest_api_port=8501
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence

import tensorflow as tf
import uvloop
from absl import app, flags, logging

from monolith.serving import configuration
from monolith.serving.server import ServerOptions, serve

flags.adopt_module_key_flags(configuration)  # So that --help shows them.

_SWITCH_SECONDS = 0.0005  # A request must not wait for a model that is being loaded.

_OBJECTS_BETWEEN_COLLECTIONS = 10_000
_OPEN_FILES = 65_536
_FILES_BESIDE_CONNECTIONS = 128  # Of models that are loaded, logs, threads, libraries.


def main(arguments: Sequence[str]) -> None:
  if len(arguments) > 1:
    raise app.UsageError(f"unknown argument: {arguments[1]}")
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.INFO)
  tf.get_logger().setLevel("ERROR")  # Its loader calls itself deprecated each time.
  f = flags.FLAGS
  try:
    options = ServerOptions(
      models=configuration.model_configs(),
      host=f.host,
      port=f.port or None,
      rest_api_port=f.rest_api_port or None,
      rest_timeout_seconds=f.rest_api_timeout_in_ms / 1000,
      body_timeout_seconds=f.body_timeout_in_ms / 1000,
      shutdown_grace_seconds=f.shutdown_grace_seconds,
      tls=configuration.tls_files(),
      batching=configuration.batching_options(),
      limits=configuration.limits(),
      loading=configuration.load_options(),
    )
    if options.port is None and options.rest_api_port is None:
      raise ValueError("--port and --rest_api_port are both 0: nothing to listen at")
    _prepare_interpreter()
    _allow_many_connections(options)
    uvloop.install()
    sys.exit(asyncio.run(_serve_until_signal(options)))
  except (ValueError, OSError) as error:
    sys.exit(f"model_server: {error}")


def _prepare_interpreter() -> None:
  """Keeps Python's pauses short."""
  sys.setswitchinterval(_SWITCH_SECONDS)
  # The hundreds of thousands of objects of imported modules stay: going through them
  # for garbage holds up all requests, for up to half a second. Those of models come
  # later, so that they can be freed.
  gc.collect()
  gc.freeze()
  gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)


def _allow_many_connections(options: ServerOptions) -> None:
  """Raises the limit of open files as far as this process may; warns if it is low."""
  # HTTP has connections beyond the limit, on which requests are refused.
  each = (options.port is not None) + 2 * (options.rest_api_port is not None)
  most = options.limits.max_connections
  needed = each * most + _FILES_BESIDE_CONNECTIONS
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = max(_OPEN_FILES, needed)
  if hard != resource.RLIM_INFINITY:
    wanted = min(wanted, hard)
  if soft != resource.RLIM_INFINITY and soft < wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
  if wanted < needed:
    logging.warning(
      "this process may open %d files, but with --max_connections=%d clients can make "
      "it need %d, and then no model can be loaded: raise the limit (ulimit -Hn), or "
      "give --max_connections=%d",
      wanted,
      most,
      needed,
      max(1, (wanted - _FILES_BESIDE_CONNECTIONS) // each),
    )


async def _serve_until_signal(options: ServerOptions) -> int:
  """Returns the exit code."""
  stop = asyncio.Event()
  for signum in (signal.SIGINT, signal.SIGTERM):
    asyncio.get_running_loop().add_signal_handler(signum, stop.set)
  ending = await serve(options, stop)
  code = 0 if ending.is_answered else 1
  if not ending.is_over:
    # Python would wait for threads that do not end.
    logging.flush()
    os._exit(code)
  return code


if __name__ == "__main__":
  app.run(main)
