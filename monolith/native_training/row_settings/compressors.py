"""Compressors of rows in exported models."""

import dataclasses
from typing import ClassVar

from monolith.native_training.row_settings.settings import Settings, at_least


@dataclasses.dataclass(frozen=True)
class Compressor(Settings):
  """How the values of a slice are stored in an exported model."""


@dataclasses.dataclass(frozen=True)
class Fp32Compressor(Compressor):
  """32 bit floats: exact."""

  type_name: ClassVar[str] = "fp32"


@dataclasses.dataclass(frozen=True)
class Fp16Compressor(Compressor):
  """16 bit floats, rounded to nearest.

  Error: at most 2^-11 of the value for magnitudes from 2^-14 to 65504, and 2^-25
  below. Magnitudes beyond 65504 become 65504.
  """

  type_name: ClassVar[str] = "fp16"


@dataclasses.dataclass(frozen=True)
class FixedR8Compressor(Compressor):
  """8 bits: multiples of `fixed_range` / 127 in [-fixed_range, fixed_range].

  Error: at most `fixed_range` / 254 (and 2^-22 of it by rounding) inside the range;
  magnitudes beyond become `fixed_range`.

  Args:
    fixed_range: at least 1e-30.
  """

  type_name: ClassVar[str] = "fixed_r8"
  fixed_range: float = at_least(1e-30, 1.0)


@dataclasses.dataclass(frozen=True)
class OneBitCompressor(Compressor):
  """A sign a value, and one magnitude: the mean magnitude of the slice in the row.

  Error: ||value| - mean| for each value, at most the largest magnitude of the slice;
  no other magnitude makes the sum of squared errors less.

  Source: Seide et al., "1-Bit Stochastic Gradient Descent", 2014; Rastegari et al.,
  "XNOR-Net", 2016.
  """

  type_name: ClassVar[str] = "one_bit"
