"""Which arguments are numbers: Python's and NumPy's, but never True and False."""

import math
import numbers
from typing import Any


def is_whole(value: Any) -> bool:
  """Whether it is a whole number."""
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
  """Whether it is a real number, neither infinite nor NaN."""
  is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
  return is_number and -math.inf < value < math.inf  # math.isfinite(10**400) raises.
