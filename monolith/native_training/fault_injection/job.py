"""One process of a round's job; the role comes from `TF_CONFIG`.

The chief stops at the phase of a save that `--stop_at` names, see `save_phases`.
"""

import time

import tensorflow as tf
from absl import app, flags

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.fault_injection import save_phases
from monolith.native_training.fault_injection.counted_model import CountedModel

# So that a job takes about as long on any machine, and saves often in that time.
_PAUSE_SECONDS = 0.005

_STOP_AT = flags.DEFINE_enum("stop_at", None, save_phases.PHASES, "Where to stop.")
_STOP_TIME = flags.DEFINE_integer("stop_time", 1, "Which time it is there.")
_STOP_FOLDER = flags.DEFINE_string("stop_folder", None, "For what is told about it.")


class _Pause(tf.compat.v1.train.SessionRunHook):
  def after_run(self, run_context, run_values):
    del run_context, run_values
    time.sleep(_PAUSE_SECONDS)


def main(_):
  config = RunnerConfig.from_flags()
  if _STOP_AT.value and config.cluster().is_chief:
    stop = save_phases.Stop(_STOP_FOLDER.value, _STOP_AT.value, _STOP_TIME.value)
    save_phases.install(stop)
  Estimator(CountedModel.params().instantiate(), config).train(hooks=[_Pause()])


if __name__ == "__main__":
  RunnerConfig.define_flags()
  app.run(main)
