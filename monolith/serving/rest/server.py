"""The REST API of TensorFlow Serving, health and metrics, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from monolith.serving.admission import PREDICT, Admission, Call
from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.metrics import Metrics
from monolith.serving.predictor import Predictor, Target
from monolith.serving.rest import json_request, json_response
from monolith.serving.rest.connections import Connections
from monolith.serving.rest.content_encoding import Decompressor
from monolith.serving.rest.json_request import JsonRequest
from monolith.serving.tls import TlsFiles
from monolith.serving.versions import status

_MODEL = r"/v1/models/{model:[^/:]+}"
_VERSIONS = ("", r"/versions/{version:\d+}", r"/labels/{label:[^/:]+}")
_MAX_VERSION = 2**63 - 1
_MAX_VERSION_DIGITS = len(str(_MAX_VERSION))
_IDLE_SECONDS = 75.0  # After which a connection is closed.
_Method = Callable[[web.Request, Target, Call], Awaitable[bytes]]


class _TooLarge(ServingError):
  http_status = 413


class RestServer:
  """Answers HTTP.

  Args:
    predictor: of the requests.
    admission: of the requests.
    metrics: to show.
    timeout_seconds: that a request may take; then it is answered with 504. Its client
      has as long to read the answer.
    grace_seconds: that requests have when the server stops.
  """

  def __init__(
    self,
    predictor: Predictor,
    admission: Admission,
    metrics: Metrics,
    timeout_seconds: float,
    grace_seconds: float,
  ):
    self._predictor = predictor
    self._admission = admission
    self._metrics = metrics
    self._timeout = timeout_seconds
    self._grace = grace_seconds
    self._runner: web.AppRunner | None = None
    self._connections: Connections | None = None

  async def start(self, host: str, port: int, tls: TlsFiles | None) -> int:
    """Listens; returns the port.

    Raises:
      OSError: the port cannot be had.
    """
    app = web.Application()
    app.on_response_prepare.append(self._say_that_this_ends)
    for version in _VERSIONS:
      path = _MODEL + version
      app.router.add_post(path + ":predict", self._handler(PREDICT, self._predict))
      app.router.add_get(path, self._handler("GetModelStatus", self._status))
      app.router.add_get(
        path + "/metadata", self._handler("GetModelMetadata", self._metadata)
      )
    app.router.add_get("/health", self._health)
    app.router.add_get("/health/live", self._live)
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
      app.router.add_get(path, self._show_metrics)
    app.router.add_route("*", "/{path:.*}", self._unknown)
    self._runner = web.AppRunner(
      app,
      handle_signals=False,
      # Who goes away, or does not finish a request, is not waited for.
      handler_cancellation=True,
      shutdown_timeout=self._grace,
    )
    await self._runner.setup()
    self._connections = Connections(
      self._runner.server,
      self._admission.limits.max_connections,
      tls.context() if tls else None,
      access_log=None,
      logger=_quiet(),
      keepalive_timeout=_IDLE_SECONDS,
      auto_decompress=False,  # Which takes what is cut off, or of unknown encodings.
    )
    try:
      return await self._connections.listen(host, port)
    except OSError as error:
      raise OSError(
        f"--rest_api_port: cannot listen at {host}, port {port}, for HTTP: "
        f"{error.strerror}"
      ) from None

  async def stop(self) -> None:
    """Takes no more requests, and ends when those it has are answered."""
    if self._connections:
      await self._connections.close()
    if self._runner:
      await self._runner.cleanup()

  def _handler(self, name: str, method: _Method):
    async def handle(request: web.Request) -> web.Response:
      with contextlib.closing(self._admission.begin(name, "rest")) as call:
        try:
          with call.answering():
            body = await self._body(method, request, call)
            call.answer(len(body))
            answer = _json(body)
        except ServingError as error:
          answer = _failure(error)
          if request.protocol.is_beyond:
            answer.force_close()
        await self._write(request, answer)
        return answer

    return handle

  async def _body(self, method: _Method, request: web.Request, call: Call) -> bytes:
    """Of the answer."""
    if call.method == PREDICT and request.protocol.is_beyond:
      raise ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"more than {self._admission.limits.max_connections} connections",
      )
    target = _target(request)
    call.model = target.model
    try:
      async with asyncio.timeout(self._timeout):
        await call.wait_while_held(self._timeout)
        return await method(request, target, call)
    except TimeoutError:
      raise ServingError(
        Code.DEADLINE_EXCEEDED, f"no answer within {self._timeout} s"
      ) from None
    except web.RequestPayloadError as error:
      raise invalid_argument(f"the body is incomplete: {error}") from None

  async def _write(self, request: web.Request, answer: web.Response) -> None:
    """Writes an answer, up to what the connection has room for; closes the connection
    of a client that does not read it."""
    try:
      async with asyncio.timeout(self._timeout):
        await answer.prepare(request)
        await answer.write_eof()
    except ConnectionError:
      pass  # The client is gone.
    except TimeoutError:
      if request.transport:
        request.transport.abort()

  async def _say_that_this_ends(
    self, request: web.Request, answer: web.StreamResponse
  ) -> None:
    """To clients that would send their next request by the same connection."""
    del request
    if self._predictor.manager.is_ending:
      answer.headers["Connection"] = "close"
      answer.force_close()

  async def _predict(self, request: web.Request, target: Target, call: Call) -> bytes:
    body = await self._read(request, call)
    predictor = self._predictor
    call.expand(json_request.decoded_bytes(body))
    document = await predictor.decode(len(body), JsonRequest.parse, body)
    result = await predictor.predict(
      target,
      document.signature_name,
      functools.partial(predictor.decode, len(body), document.feeds),
    )
    return await predictor.encode(
      result, json_response.prediction, result, document.by_rows
    )

  async def _read(self, request: web.Request, call: Call) -> bytes:
    """The body, decompressed; its bytes count as they come."""
    body = bytearray()
    encodings = request.headers.getall("Content-Encoding", ())
    decompressor = Decompressor(",".join(encodings))
    limits = self._admission.limits
    most = min(limits.max_rest_body_bytes, limits.max_request_bytes)
    try:
      while chunk := await request.content.readany():
        for piece in decompressor.pieces(chunk):
          body += piece
          if len(body) > most:
            raise _TooLarge(
              Code.RESOURCE_EXHAUSTED, f"the body is larger than {most} bytes"
            )
          call.grow(len(piece))
      decompressor.end()
    except ConnectionError:
      raise ServingError(Code.CANCELLED, "the client is gone") from None
    return bytes(body)

  async def _status(self, request: web.Request, target: Target, call: Call) -> bytes:
    del request, call
    model = self._predictor.manager.model(target.model)
    return json_response.status(status.of(model, target.version, target.label))

  async def _metadata(self, request: web.Request, target: Target, call: Call) -> bytes:
    del request, call
    with self._predictor.servable(target) as servable:
      return json_response.metadata(servable)

  async def _health(self, request: web.Request) -> web.Response:
    """Whether every model can answer, and the server is not about to end."""
    del request
    if self._predictor.manager.is_ready():
      return _json(b'{"status":"SERVING"}')
    return _json(b'{"status":"NOT_SERVING"}', 503)

  async def _live(self, request: web.Request) -> web.Response:
    """Whether the process answers at all."""
    del request
    return _json(b'{"status":"LIVE"}')

  async def _show_metrics(self, request: web.Request) -> web.Response:
    del request
    text = self._metrics.text()
    return web.Response(
      body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )

  async def _unknown(self, request: web.Request) -> web.Response:
    error = invalid_argument(f"Malformed request: {request.method} {request.path}")
    return _failure(error)


def _quiet() -> logging.Logger:
  """aiohttp's log without a traceback for every malformed request."""
  logger = logging.getLogger("monolith.serving.http")
  logger.setLevel(logging.CRITICAL)
  return logger


def _target(request: web.Request) -> Target:
  found = request.match_info
  version = None
  if "version" in found:
    digits = found["version"].lstrip("0") or "0"
    # Python does not read more than some thousand.
    version = int(digits) if len(digits) <= _MAX_VERSION_DIGITS else _MAX_VERSION + 1
    if version > _MAX_VERSION:
      raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
  return Target(found["model"], version, found.get("label"))


def _json(body: bytes, http_status: int = 200) -> web.Response:
  return web.Response(body=body, status=http_status, content_type="application/json")


def _failure(error: ServingError) -> web.Response:
  return _json(json_response.error(error), error.http_status)
