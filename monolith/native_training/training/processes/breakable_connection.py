"""A connection that can be cut, for tests: what is sent does not arrive, as when a
cable is pulled, and nobody is told."""

from __future__ import annotations

import contextlib
import socket
import threading

_BYTES = 1 << 16


class BreakableConnection:
  """A relay from a port of its own to a server's; a context manager.

  Args:
    target: `host:port` of the server.

  Attributes:
    address: `host:port` where clients connect instead.
  """

  def __init__(self, target: str):
    host, port = target.rsplit(":", 1)
    self._target = (host, int(port))
    self._whole = threading.Event()
    self._whole.set()
    self._sockets: list[socket.socket] = []
    self._listener = socket.create_server(("127.0.0.1", 0))
    self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

  def __enter__(self) -> BreakableConnection:
    threading.Thread(target=self._accept, daemon=True).start()
    return self

  def __exit__(self, *exception) -> None:
    for each in [self._listener, *self._sockets]:
      with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
      each.close()
    self._whole.set()

  def cut(self) -> None:
    """From now on nothing arrives."""
    self._whole.clear()

  def mend(self) -> None:
    """Lets arrive what was sent meanwhile, and all that follows."""
    self._whole.set()

  def _accept(self) -> None:
    with contextlib.suppress(OSError):
      while True:
        client, _ = self._listener.accept()
        try:
          server = socket.create_connection(self._target)
        except OSError:
          client.close()
          continue
        self._sockets += [client, server]
        for source, sink in ((client, server), (server, client)):
          threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

  def _relay(self, source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
      while data := source.recv(_BYTES):
        self._whole.wait()
        sink.sendall(data)
    for each in (source, sink):
      with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
