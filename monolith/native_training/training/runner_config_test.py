import dataclasses
import json
import os
import pathlib
import sys
from unittest import mock

import numpy as np
from absl import flags
from absl.testing import absltest, parameterized

from monolith.native_training.training.runner_config import RunnerConfig

_TF_CONFIG = {
  "cluster": {"chief": ["c:1"], "worker": ["w0:1", "w1:1"], "ps": ["p:1"]},
  "task": {"type": "worker", "index": 1},
}


def _from_command_line(*arguments: str) -> RunnerConfig:
  flag_values = flags.FlagValues()
  RunnerConfig.define_flags(flag_values)
  flag_values(["program", *arguments])
  return RunnerConfig.from_flags(flag_values)


class RunnerConfigTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.dict(os.environ))
    os.environ.pop("TF_CONFIG", None)

  def test_defaults(self):
    conf = RunnerConfig()
    self.assertEqual((conf.model_dir, conf.model_name), ("", ""))
    self.assertIsNone(conf.save_checkpoints_steps)
    self.assertEqual(conf.checkpoints_max_to_keep, 10)
    self.assertEqual((conf.log_step_count_steps, conf.save_summary_steps), (100, 100))
    self.assertEqual((conf.num_ps, conf.num_workers), (0, 1))
    self.assertEqual((conf.server_type, conf.index), ("worker", 0))

  @parameterized.parameters(True, False)
  def test_the_cluster_comes_from_tf_config(self, in_environment):
    if in_environment:
      os.environ["TF_CONFIG"] = json.dumps(_TF_CONFIG)
      conf = RunnerConfig()
    else:
      conf = RunnerConfig(tf_config=_TF_CONFIG)
    self.assertEqual((conf.num_ps, conf.num_workers), (1, 3))
    self.assertEqual((conf.server_type, conf.index), ("worker", 1))
    self.assertEqual(conf.cluster().worker_index, 2)

  def test_a_tf_config_given_wins_over_the_environment(self):
    os.environ["TF_CONFIG"] = json.dumps(_TF_CONFIG)
    for given in ("", {}):
      self.assertFalse(RunnerConfig(tf_config=given).cluster().is_distributed)

  def test_the_cluster_in_short_may_agree(self):
    conf = RunnerConfig(_TF_CONFIG, num_ps=1, num_workers=3, server_type="worker")
    self.assertEqual(conf.num_workers, 3)
    self.assertEqual(dataclasses.replace(conf, model_dir="m").num_workers, 3)

  def test_a_folder_may_be_a_path(self):
    self.assertEqual(RunnerConfig(model_dir=pathlib.Path("/a/b")).model_dir, "/a/b")
    for given, path in (("/a//", "/a"), ("//", "/"), ("gs://b/c/", "gs://b/c")):
      self.assertEqual(RunnerConfig(model_dir=given).model_dir, path)
    above = RunnerConfig(model_dir="/none/../b/").model_dir
    self.assertEqual(above, os.path.realpath("/b"))
    with self.assertRaisesRegex(ValueError, "RunnerConfig.model_dir: got 3, wanted a"):
      RunnerConfig(model_dir=3)

  def test_a_folder_named_like_a_pattern_is_refused(self):
    for name in ("run[1]", "m*", "what?"):
      with self.assertRaisesRegex(ValueError, "RunnerConfig.model_dir: got .*patterns"):
        RunnerConfig(model_dir=name)

  @parameterized.parameters(
    ({"num_ps": 2}, "num_ps: got 2, but TF_CONFIG says 1"),
    ({"num_workers": 2}, "num_workers: got 2, but TF_CONFIG says 3"),
    ({"server_type": "ps"}, "server_type: got 'ps', but TF_CONFIG says 'worker'"),
    ({"index": 2}, "index: got 2, but TF_CONFIG says 1"),
  )
  def test_the_cluster_in_short_may_not_disagree(self, given, message):
    with self.assertRaisesRegex(ValueError, message):
      RunnerConfig(_TF_CONFIG, **given)

  def test_a_cluster_needs_tf_config(self):
    with self.assertRaisesRegex(ValueError, "num_ps: got 2, but there is no TF_CONFIG"):
      RunnerConfig(tf_config={}, num_ps=2)

  def test_the_defaults_in_short_fit_any_cluster(self):
    conf = RunnerConfig(_TF_CONFIG, server_type="worker", index=0)
    self.assertEqual(conf.index, 1)

  @parameterized.parameters(
    "checkpoints_max_to_keep",
    "log_step_count_steps",
    "save_summary_steps",
    "worker_timeout_secs",
    "stop_grace_secs",
    "save_checkpoints_steps",
    "save_checkpoints_secs",
  )
  def test_how_often_is_positive(self, name):
    for value in (0, -1, float("nan"), float("inf"), "10", True):
      with self.assertRaisesRegex(ValueError, f"{name}: got {value!r}, wanted a"):
        RunnerConfig(**{name: value})

  @parameterized.parameters(
    "checkpoints_max_to_keep",
    "log_step_count_steps",
    "save_summary_steps",
    "save_checkpoints_steps",
  )
  def test_steps_are_whole_numbers(self, name):
    self.assertEqual(getattr(RunnerConfig(**{name: np.int64(3)}), name), 3)
    with self.assertRaisesRegex(ValueError, f"{name}: got 1.5, wanted a whole number"):
      RunnerConfig(**{name: 1.5})

  def test_admission_and_eviction_have_ranges(self):
    for value in (0, -1, 2**30 + 1, 1.5, None, True):
      with self.assertRaisesRegex(
        ValueError, f"admission_capacity: got {value!r}, wan"
      ):
        RunnerConfig(admission_capacity=value)
    for value in (-1, float("nan"), float("inf"), "1", None):
      with self.assertRaisesRegex(
        ValueError, f"evict_every_hours: got {value!r}, want"
      ):
        RunnerConfig(evict_every_hours=value)
    self.assertEqual(RunnerConfig(evict_every_hours=0).evict_every_hours, 0)

  def test_a_damaged_tf_config_is_refused(self):
    with self.assertRaisesRegex(ValueError, "TF_CONFIG is not JSON"):
      RunnerConfig(tf_config="{")

  def test_without_flags_it_is_the_default(self):
    self.assertEqual(_from_command_line(), RunnerConfig())

  def test_every_field_is_a_flag(self):
    conf = _from_command_line(
      f"--tf_config={json.dumps(_TF_CONFIG)}",
      "--model_dir=/models/m",
      "--model_name=m",
      "--num_ps=1",
      "--num_workers=3",
      "--server_type=worker",
      "--index=1",
      "--save_checkpoints_steps=5",
      "--save_checkpoints_secs=1.5",
      "--checkpoints_max_to_keep=2",
      "--checkpoint_increments=3",
      "--log_step_count_steps=3",
      "--save_summary_steps=4",
      "--worker_timeout_secs=0.5",
      "--stop_grace_secs=3",
      "--admission_capacity=1000",
      "--evict_every_hours=0.25",
      "--metrics_port=9100",
      "--metrics_host=0.0.0.0",
      "--progress_file=p.json",
    )
    self.assertEqual(
      conf,
      RunnerConfig(
        tf_config=_TF_CONFIG,
        model_dir="/models/m",
        model_name="m",
        save_checkpoints_steps=5,
        save_checkpoints_secs=1.5,
        checkpoints_max_to_keep=2,
        checkpoint_increments=3,
        log_step_count_steps=3,
        save_summary_steps=4,
        worker_timeout_secs=0.5,
        stop_grace_secs=3.0,
        admission_capacity=1000,
        evict_every_hours=0.25,
        metrics_port=9100,
        metrics_host="0.0.0.0",
        progress_file="p.json",
      ),
    )
    given = {f.name for f in dataclasses.fields(conf)}
    defaults = RunnerConfig()
    self.assertEmpty(
      [
        n
        for n in given
        if getattr(conf, n) == getattr(defaults, n) and n != "server_type"
      ]
    )

  def test_help_of_the_program_lists_the_flags(self):
    flag_values = flags.FlagValues()
    RunnerConfig.define_flags(flag_values)
    told = flag_values.get_key_flags_for_module(sys.modules[__name__])
    fields = [field.name for field in dataclasses.fields(RunnerConfig)]
    self.assertCountEqual([flag.name for flag in told], fields)


if __name__ == "__main__":
  absltest.main()
