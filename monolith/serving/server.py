"""The whole server: versions, batches, gRPC and HTTP in one event loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from absl import logging

from monolith.serving.admission import Admission, Limits
from monolith.serving.batching.batcher import Batcher
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import Code
from monolith.serving.metrics import Metrics
from monolith.serving.predictor import Predictor
from monolith.serving.rest.server import RestServer
from monolith.serving.rpc.server import RpcServer
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.warm_up import batch_sizes, warm_up
from monolith.serving.tls import TlsFiles
from monolith.serving.versions.manager import ModelManager
from monolith.serving.versions.model_watcher import LoadOptions
from monolith.serving.versions.served_model import ModelConfig

# While all is answered as before, but the server says that it ends: for balancers.
_LEAVING_SECONDS = 1.0
# While requests are held, so that clients which wait for each answer send no other: for
# until nothing has come for some time, or longer where that does not happen.
_QUIET_SECONDS = 0.05
_HOLD_SECONDS = 0.2
_RELEASE_SECONDS = 0.05  # Until clients know that they are to go elsewhere.
_CUT_OFF_SECONDS = 1.0
_END_SECONDS = 4.0


@dataclasses.dataclass(frozen=True)
class ServerOptions:
  """What `model_server`'s flags say; None for a port is none."""

  models: list[ModelConfig]
  host: str = "127.0.0.1"
  port: int | None = 8500
  rest_api_port: int | None = None
  rest_timeout_seconds: float = 30.0
  body_timeout_seconds: float = 30.0
  shutdown_grace_seconds: float = 20.0
  tls: TlsFiles | None = None
  batching: BatchingOptions = BatchingOptions()
  limits: Limits = Limits()
  loading: LoadOptions = LoadOptions()


@dataclasses.dataclass(frozen=True)
class Ending:
  """How a server has ended.

  Attributes:
    is_answered: all requests that were begun are answered.
    is_over: nothing is running any more; else threads are, which do not end.
  """

  is_answered: bool
  is_over: bool


async def serve(options: ServerOptions, stop: asyncio.Event) -> Ending:
  """Serves until `stop` is set, and what was begun by then is done or given up.

  Raises:
    OSError: a port cannot be had, or a file of certificates cannot be read.
  """
  manager = ModelManager(options.models, _loader(options), options.loading)
  metrics = Metrics(manager.models)
  batcher = Batcher(options.batching, len(options.models), metrics.batch)
  metrics.waiting = lambda: batcher.waiting
  admission = Admission(options.limits, metrics)
  predictor = Predictor(manager, batcher)
  # They cut off what is still there when everything else was given up.
  grace = options.shutdown_grace_seconds + _CUT_OFF_SECONDS
  rpc = rest = watch = None
  try:
    if options.port is not None:
      address = _address(options.host, options.port)
      body_seconds = options.body_timeout_seconds
      rpc = RpcServer(predictor, admission, address, options.tls, grace, body_seconds)
      await rpc.start()
      logging.info("gRPC is at %s", _address(options.host, rpc.port))
    if options.rest_api_port is not None:
      seconds = options.rest_timeout_seconds
      rest = RestServer(predictor, admission, metrics, seconds, grace)
      port = await rest.start(options.host, options.rest_api_port, options.tls)
      logging.info("HTTP is at %s", _address(options.host, port))
    watch = asyncio.create_task(manager.watch())
    await stop.wait()
    logging.info("%d requests are to be answered, then this ends", admission.in_flight)
  finally:
    loop = asyncio.get_running_loop()
    end = loop.time() + options.shutdown_grace_seconds
    await _leave(manager, admission, options.shutdown_grace_seconds)
    if watch:
      watch.cancel()
    tasks = [asyncio.ensure_future(server.stop()) for server in (rpc, rest) if server]
    loop.call_later(_RELEASE_SECONDS, admission.release)
    is_answered = await _are_done(tasks, max(0.0, end - loop.time()))
    if not is_answered:
      logging.warning("%d requests are given up", admission.in_flight)
      admission.release()  # While models can still tell them why.
      batcher.give_up(Code.UNAVAILABLE, "the server is shutting down")
      manager.interrupt()
    end = loop.time() + _END_SECONDS
    tasks += [asyncio.ensure_future(part.close()) for part in (batcher, manager)]
    is_over = await _are_done(tasks, _END_SECONDS)
    if not is_over:
      logging.warning("this ends although a model is still being loaded, or running")
    else:
      # Its threads decode requests, which may be given up already. They are ended last
      # of all, since the other parts use them until their own end.
      threads = asyncio.ensure_future(loop.shutdown_default_executor())
      is_over = await _are_done([threads], max(0.0, end - loop.time()))
      if not is_over:
        logging.warning("this ends although a request is still being decoded")
  return Ending(is_answered, is_over)


async def _leave(manager: ModelManager, admission: Admission, grace: float) -> None:
  """Sends clients away, and holds the requests that begin at the end of that.

  gRPC cancels what it has received but not handed over when its server is stopped, and
  the system resets connections that are not accepted when their port is closed. Those
  whose requests are held send nothing meanwhile, and know that they are to go elsewhere
  before they are answered. Who has paused for longer than requests are held may still
  send one in that moment.
  """
  manager.is_ending = True
  await admission.quiet(_LEAVING_SECONDS, min(_LEAVING_SECONDS, grace / 4))
  admission.hold()
  await admission.quiet(_QUIET_SECONDS, min(_HOLD_SECONDS, grace / 4))


async def _are_done(tasks: Sequence[asyncio.Future], seconds: float) -> bool:
  """Waits until all are done, or for so many seconds; raises what one has raised."""
  if not tasks:
    return True
  done, pending = await asyncio.wait(tasks, timeout=seconds)
  for task in done:
    task.result()
  return not pending


def _loader(options: ServerOptions):
  batching, limits = options.batching, options.limits
  sizes = batch_sizes(batching.max_batch_size if batching.enabled else None)
  max_bytes = (
    limits.max_bytes_in_flight if batching.enabled else limits.max_request_bytes
  )

  def load(name: str, version: int, path: str) -> Servable:
    servable = Servable(name, version, path)
    try:
      warm_up(servable, sizes, max_bytes)
    except BaseException:
      servable.close()
      raise
    return servable

  return load


def _address(host: str, port: int) -> str:
  return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
