"""How rows of an embedding table begin, learn and are stored.

Optimizers, initializers and compressors of a slice, as plain settings: the table's
C++ core does the work. `config()` is the form in which the core reads them. Settings
that are out of range are refused here, with a ValueError that names them.

Where a slice names nothing it gets `DEFAULT_INITIALIZER`, `DEFAULT_OPTIMIZER` and
`DEFAULT_COMPRESSOR`: uniform in [-0.05, 0.05], Adagrad with learning rate 0.05 and
accumulator 0.1, and 16 bit floats in exported models.
"""

from monolith.native_training.row_settings.compressors import (
  Compressor,
  FixedR8Compressor,
  Fp16Compressor,
  Fp32Compressor,
  OneBitCompressor,
)
from monolith.native_training.row_settings.initializers import (
  ConstantsInitializer,
  Initializer,
  RandomNormalInitializer,
  RandomUniformInitializer,
  ZerosInitializer,
)
from monolith.native_training.row_settings.optimizers import (
  AdadeltaOptimizer,
  AdagradOptimizer,
  AdaGradWithGroupLassoOptimizer,
  AdamOptimizer,
  AmsgradOptimizer,
  DynamicWdAdagradOptimizer,
  FtrlOptimizer,
  FTRLWithGroupSparsityOptimizer,
  MomentumOptimizer,
  MovingAverageOptimizer,
  Optimizer,
  RmspropOptimizer,
  SgdOptimizer,
  StochasticRoundingFloat16OptimizerWrapper,
)

__all__ = [
  "AdaGradWithGroupLassoOptimizer",
  "AdadeltaOptimizer",
  "AdagradOptimizer",
  "AdamOptimizer",
  "AmsgradOptimizer",
  "Compressor",
  "ConstantsInitializer",
  "DEFAULT_COMPRESSOR",
  "DEFAULT_INITIALIZER",
  "DEFAULT_OPTIMIZER",
  "DynamicWdAdagradOptimizer",
  "FTRLWithGroupSparsityOptimizer",
  "FixedR8Compressor",
  "Fp16Compressor",
  "Fp32Compressor",
  "FtrlOptimizer",
  "Initializer",
  "MomentumOptimizer",
  "MovingAverageOptimizer",
  "OneBitCompressor",
  "Optimizer",
  "RandomNormalInitializer",
  "RandomUniformInitializer",
  "RmspropOptimizer",
  "SgdOptimizer",
  "StochasticRoundingFloat16OptimizerWrapper",
  "ZerosInitializer",
]

DEFAULT_INITIALIZER = RandomUniformInitializer()
DEFAULT_OPTIMIZER = AdagradOptimizer()
DEFAULT_COMPRESSOR = Fp16Compressor()
