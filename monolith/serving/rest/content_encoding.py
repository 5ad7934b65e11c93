"""Bodies that are compressed as their `Content-Encoding` says."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from monolith.serving.errors import ServingError, invalid_argument

_NONE = ("", "identity")
_GZIP, _DEFLATE = "gzip", "deflate"
_ENCODINGS = (*_NONE, _GZIP, _DEFLATE)
_PIECE_BYTES = 256 * 1024
_MAX_STREAMS = 64  # Behind one another. At the end of each what is left is copied.


class Decompressor:
  """Of one body, as its bytes come.

  Args:
    encoding: the header; "" for none.

  Raises:
    ServingError: it is another one than gzip and deflate.
  """

  def __init__(self, encoding: str):
    self._encoding = encoding.strip().lower()
    if self._encoding not in _ENCODINGS:
      raise invalid_argument(
        "Content-Encoding: wanted gzip or deflate for a body, or none; got "
        f"{encoding!r}"
      )
    self._stream = None
    self._streams = 0

  def pieces(self, data: bytes) -> Iterator[bytes]:
    """What bytes of the body become, bounded piece by bounded piece.

    Raises:
      ServingError: they are not so compressed.
    """
    if self._encoding in _NONE:
      yield data
      return
    piece = b""
    while data or len(piece) == _PIECE_BYTES:
      if data and (self._stream is None or self._stream.eof):
        self._stream = self._begin(data)
      try:
        piece = self._stream.decompress(data, _PIECE_BYTES)
      except zlib.error:
        raise self._wrong("no") from None
      data = self._stream.unconsumed_tail or self._stream.unused_data
      yield piece

  def end(self) -> None:
    """Raises `ServingError` where the body cannot be over yet."""
    if self._stream is not None and not self._stream.eof:
      raise self._wrong("no whole")

  def _begin(self, data: bytes):
    """A stream that begins with these bytes."""
    self._streams += 1
    if self._streams > _MAX_STREAMS:
      raise self._wrong(f"in more than {_MAX_STREAMS} parts of")
    bits = zlib.MAX_WBITS
    if self._encoding == _GZIP:
      bits += 16
    elif data[0] & 0xF != zlib.DEFLATED:
      bits = -bits  # As some write it, without what zlib puts around it.
    return zlib.decompressobj(bits)

  def _wrong(self, what: str) -> ServingError:
    return invalid_argument(f"the body is {what} {self._encoding}, as it says")
