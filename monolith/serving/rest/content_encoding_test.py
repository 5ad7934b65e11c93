"""Compressed bodies, whole and not."""

import gzip
import zlib

from absl.testing import absltest

from monolith.serving.errors import ServingError
from monolith.serving.rest.content_encoding import Decompressor

_BODY = b'{"instances": [' + b"0.5, " * 400_000 + b"0.5]}"  # Of several pieces.


def _raw_deflate(data: bytes) -> bytes:
  return zlib.compress(data)[2:-4]


class ContentEncodingTest(absltest.TestCase):
  def _decompress(self, encoding: str, data: bytes, chunk: int = 65_536) -> bytes:
    decompressor = Decompressor(encoding)
    body = b""
    for start in range(0, len(data), chunk):
      for piece in decompressor.pieces(data[start : start + chunk]):
        self.assertLessEqual(len(piece), 256 * 1024)
        body += piece
    decompressor.end()
    return body

  def test_bodies_are_what_was_compressed(self):
    for encoding, compress in (
      ("gzip", gzip.compress),
      (" GZIP", gzip.compress),
      ("deflate", zlib.compress),
      ("deflate", _raw_deflate),
    ):
      for chunk in (1, 1000, 65_536):
        self.assertEqual(self._decompress(encoding, compress(_BODY), chunk), _BODY)
    two = gzip.compress(_BODY) + gzip.compress(b"{}")
    self.assertEqual(self._decompress("gzip", two), _BODY + b"{}")

  def test_streams_behind_one_another_are_bounded(self):
    one = gzip.compress(b"1")
    self.assertEqual(self._decompress("gzip", one * 64), b"1" * 64)
    with self.assertRaisesRegex(ServingError, "more than 64 parts of gzip"):
      self._decompress("gzip", one * 65)

  def test_bodies_that_are_not_compressed(self):
    for encoding in ("", "identity"):
      self.assertEqual(self._decompress(encoding, b"{}"), b"{}")

  def test_what_is_cut_off_is_refused(self):
    for encoding, compress in (
      ("gzip", gzip.compress),
      ("deflate", zlib.compress),
      ("deflate", _raw_deflate),
    ):
      whole = compress(b'{"instances": [0.0]}')
      for size in range(1, len(whole)):
        with self.assertRaisesRegex(ServingError, f"is no whole {encoding}, as it"):
          self._decompress(encoding, whole[:size])

  def test_other_encodings_are_refused(self):
    for encoding in ("br", "zstd", "x-gzip", "gzip, gzip", "gzip,"):
      with self.assertRaisesRegex(ServingError, f"or none; got '{encoding}'"):
        Decompressor(encoding)


if __name__ == "__main__":
  absltest.main()
