"""Groups of settings that are checked when they are made: what all of them here are.

@dataclasses.dataclass(frozen=True)
class Decay(Settings):
  type_name: ClassVar[str] = 'decay'
  rate: float = at_least(0, 0.1)
"""

import dataclasses
import math
import struct
from typing import Any, ClassVar

from monolith.native_training.number_checks import is_finite, is_whole

_WANTED = {float: "a finite number", int: "a whole number", bool: "True or False"}


@dataclasses.dataclass(frozen=True)
class _Range:
  """The numbers that a setting may have.

  Attributes:
    minimum: the least of them, or what they are above.
    above: whether the minimum itself is not one of them.
    limit: what they are below.
  """

  minimum: float
  above: bool = False
  limit: float = math.inf

  def __contains__(self, value: float) -> bool:
    value, minimum = _as_float32(value), _as_float32(self.minimum)
    fits = value > minimum if self.above else value >= minimum
    return fits and value < self.limit

  def __str__(self):
    text = f"{'above' if self.above else 'at least'} {self.minimum:g}"
    return text if self.limit == math.inf else f"{text} and below {self.limit:g}"


def _as_float32(value: float) -> float:
  """The number as the core sees it; infinity if it is too large for that."""
  try:
    return struct.unpack("f", struct.pack("f", value))[0]
  except (OverflowError, struct.error):
    return math.inf if value > 0 else -math.inf


def _setting(default: Any, allowed: _Range) -> Any:
  return dataclasses.field(default=default, metadata={"allowed": allowed})


def at_least(minimum: float, default: Any) -> Any:
  """A field of a number that is at least `minimum`."""
  return _setting(default, _Range(minimum))


def above(bound: float, default: Any) -> Any:
  """A field of a number above `bound`."""
  return _setting(default, _Range(bound, above=True))


def fraction(default: Any) -> Any:
  """A field of a number from 0 to below 1."""
  return _setting(default, _Range(0, limit=1))


@dataclasses.dataclass(frozen=True)
class Settings:
  """A named group of settings that the table's core understands by `type_name`.

  Raises:
    ValueError: a setting is of another type, not finite or out of range.
  """

  type_name: ClassVar[str]

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      wanted = _WANTED.get(field.type, f"an {field.type.__name__}")
      if field.type in (float, int):
        fits = is_finite(value) if field.type is float else is_whole(value)
        fits = fits and math.isfinite(_as_float32(value))
      else:
        fits = isinstance(value, field.type)
      allowed = field.metadata.get("allowed")
      if allowed is not None:
        wanted = f"{wanted}, {allowed}"
        fits = fits and value in allowed
      if not fits:
        raise ValueError(
          f"{type(self).__name__}.{field.name}: got {value!r}, wanted {wanted}"
        )
      if field.type in (float, int):  # Of NumPy's numbers JSON knows nothing.
        object.__setattr__(self, field.name, field.type(value))

  def config(self) -> dict[str, Any]:
    """The settings as the JSON object that the core parses."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return {
      "type": self.type_name,
      **{k: v.config() if isinstance(v, Settings) else v for k, v in fields.items()},
    }
