"""Serialized tf.train.Examples that are nearly right, for comparing parsers.

They are built byte by byte: valid ones in all the ways that protobuf allows and rarely
writes, and then changed.
"""

import random
import re
import struct

_LONG_LENGTH = re.compile(rb"\x0a(?=([\x80-\xff]{3,9}[\x00-\x7f]))")
_UNPACKED_FLOATS = re.compile(rb"\x0d.{4}\x0d", re.DOTALL)


def ends_tensorflow(message: bytes, fixed_floats: bool) -> bool:
  """Whether parsing this might end TensorFlow's process, or take all memory.

  Its parser writes past a float feature of fixed length whose values are more and not
  packed. With lengths of 2^31 and more it reads past the message, and for those a
  little below it takes gigabytes.

  Args:
    message: the bytes.
    fixed_floats: whether float features of fixed length are parsed.
  """
  if fixed_floats and _UNPACKED_FLOATS.search(message):
    return True
  return any(
    sum((byte & 0x7F) << 7 * i for i, byte in enumerate(length)) & 0xFFFFFFFF >= 2**21
    for length in _LONG_LENGTH.findall(message)
  )


def varint(value: int, extra: int = 0) -> bytes:
  """A number, with `extra` bytes more than it needs."""
  value &= 2**64 - 1
  data = bytearray()
  while value >= 0x80:
    data.append(value & 0x7F | 0x80)
    value >>= 7
  data.append(value)
  for _ in range(extra):
    data[-1] |= 0x80
    data.append(0)
  return bytes(data)


def delimited(field: int, data: bytes) -> bytes:
  """A field with bytes: a string or a message."""
  return varint(field << 3 | 2) + varint(len(data)) + data


class ExampleMaker:
  """Makes random messages, the same for the same seed.

  Args:
    features: per name, the type of its values, 1 for bytes, 2 for float and 3 for
      int64, and how many of them most messages have, -1 for any number.
    seed: of all that is random.
  """

  def __init__(self, features: dict[str, tuple[int, int]], seed: int):
    self._features = {name.encode(): wanted for name, wanted in features.items()}
    self._names = list(self._features)
    self._random = random.Random(seed)

  def message(self) -> bytes:
    """A message with up to 4 changes, often none."""
    data = self._example()
    for _ in range(self._random.choice((0, 0, 1, 1, 2, 4))):
      data = self._changed(data)
    return data

  def _chance(self, share: float) -> bool:
    return self._random.random() < share

  def _number(self) -> int:
    return self._random.getrandbits(64) >> self._random.randrange(64)

  def _varint(self, value: int) -> bytes:
    extra = self._random.randrange(1, 11) if self._chance(0.01) else 0
    return varint(value, extra)

  def _delimited(self, field: int, data: bytes) -> bytes:
    length = len(data)
    if self._chance(0.01):
      length += self._random.randrange(-3, 4)
    tag = self._varint(field << 3 | 2)
    return tag + self._varint(max(0, length)) + data

  def _list(self, kind: int, count: int) -> bytes:
    if count < 0 or self._chance(0.05):
      count = self._random.randrange(4)
    if kind == 1:
      words = [self._random.randbytes(self._random.randrange(4)) for _ in range(count)]
      return b"".join(self._delimited(1, word) for word in words)
    if kind == 2:
      tag = b"\x0d"
      values = [struct.pack("<f", self._random.random()) for _ in range(count)]
    else:
      tag = b"\x08"
      values = [self._varint(self._number()) for _ in range(count)]
    if self._chance(0.2):
      return b"".join(tag + value for value in values)
    packed = self._delimited(1, b"".join(values))
    return packed + packed if self._chance(0.02) else packed

  def _feature(self, name: bytes) -> bytes:
    if self._chance(0.05):
      return b""
    kind, count = self._features[name]
    if self._chance(0.05):
      kind = self._random.randrange(5)
    feature = self._delimited(kind, self._list(kind, count))
    return feature + b"\x1a\x00" if self._chance(0.02) else feature

  def _entry(self) -> bytes:
    name = self._random.choice(self._names)
    parts = [self._delimited(1, name), self._delimited(2, self._feature(name))]
    if self._chance(0.05):
      parts.reverse()
    if self._chance(0.02):
      parts.pop()
    if self._chance(0.02):
      parts.append(self._random.choice((parts[0], b"\x18\x01")))
    return self._delimited(1, b"".join(parts))

  def _example(self) -> bytes:
    if self._chance(0.02):
      return self._random.randbytes(self._random.randrange(40))
    entries = [self._entry() for _ in range(self._random.randrange(6))]
    # All features once, too, or too few messages would be good.
    if self._chance(0.8):
      for name in self._names:
        entries.append(
          self._delimited(1, delimited(1, name) + delimited(2, self._feature(name)))
        )
    self._random.shuffle(entries)
    data = self._delimited(1, b"".join(entries))
    if self._chance(0.05):
      data += self._delimited(self._random.randrange(1, 5), b"unknown")
    if self._chance(0.05):
      data += self._random.choice(
        (
          b"\x18\x05",
          b"\x25four",
          b"\x31eight by",
          b"\x12\xff\xff\xff\xff\x0f",
          b"\x00\x07",
        )
      )
    if self._chance(0.05):
      data += self._delimited(1, self._entry())
    return data

  def _changed(self, data: bytes) -> bytes:
    if not data:
      return data
    at = self._random.randrange(len(data))
    kind = self._random.randrange(6)
    if kind == 0:
      return data[:at]
    if kind == 1:
      return data[:at] + data[at + 1 :]
    if kind == 2:
      return data[:at] + self._random.randbytes(1) + data[at:]
    if kind == 3:
      flipped = data[at] ^ 1 << self._random.randrange(8)
      return data[:at] + bytes([flipped]) + data[at + 1 :]
    if kind == 4:
      few = self._random.choice((0, 8, 10, 13, 18, 26, 127, 128, 255))
      return data[:at] + bytes([few]) + data[at + 1 :]
    other = self._random.randrange(len(data))
    return data[:at] + data[other:]
