"""What is lost is noticed: a check that cannot fail is none."""

import json
import os
import pathlib
import re
import shutil

from absl.testing import absltest

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.fault_injection import asked, save_phases, verdict
from monolith.native_training.fault_injection.counted_model import CountedModel
from monolith.native_training.fault_injection.fault_plan import RANDOM, WORKER, Fault
from monolith.native_training.fault_injection.job_round import Outcome
from monolith.native_training.training.checkpoints import checkpoint

_ALONE = {
  "cluster": {"worker": ["127.0.0.1:1"]},
  "task": {"type": "worker", "index": 0},
}
_STEPS = 600


def _train(model_dir: str, **limits) -> None:
  config = RunnerConfig(model_dir=model_dir, tf_config=json.dumps(_ALONE))
  Estimator(CountedModel.params().instantiate(), config).train(**limits)


def _both(what: str) -> list[str]:
  return [f"the tables.* {what}$", f"the dense variables.* {what}$"]


class VerdictTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # The whole job is that of one process here.
    cls.enterClassContext(
      absltest.mock.patch.dict(os.environ, TF_CONFIG=json.dumps(_ALONE))
    )
    cls.enterClassContext(
      absltest.mock.patch.multiple(
        asked, WORKERS=1, STEPS=_STEPS, EXAMPLES=_STEPS * asked.BATCH_SIZE
      )
    )
    cls.trained = os.path.join(absltest.get_default_test_tmpdir(), "trained")
    shutil.rmtree(cls.trained, ignore_errors=True)
    _train(os.path.join(cls.trained, "model"))

  def setUp(self):
    super().setUp()
    folder = os.path.join(self.create_tempdir().full_path, "round")
    shutil.copytree(self.trained, folder)
    self.outcome = Outcome(
      Fault(RANDOM, WORKER),
      folder,
      struck=["worker 1"],
      exit_codes={"worker 0": 0, "worker 1": 0},
      restarts={"worker 0": 0, "worker 1": 1},
      positions=[_STEPS // 2, _STEPS // 2],
    )
    self.model_dir = pathlib.Path(self.outcome.model_dir)

  def _judge(self, loss_limit: float | None = 0.1) -> verdict.Verdict:
    return verdict.judge(self.outcome, loss_limit)

  def assertLost(self, *regexes: str) -> None:
    problems = self._judge().problems
    for regex in regexes:
      self.assertTrue(
        any(re.search(regex, problem) for problem in problems),
        f"{regex} is not in {problems}",
      )
    self.assertLen(problems, len(regexes))

  def test_nothing_is_lost(self):
    judged = self._judge()
    self.assertEqual(judged.problems, [])
    self.assertEqual(judged.examples, _STEPS * asked.BATCH_SIZE)
    self.assertEqual((judged.batches_lost, judged.batches_twice), (0, 0))
    self.assertLess(judged.loss, 0.01)

  def test_without_positions_the_step_counts(self):
    self.outcome.positions = [None, None]
    self.assertEqual(self._judge().problems, [])

  def test_how_processes_end(self):
    self.outcome.exit_codes.update({"worker 1": -9, "ps 0": None})
    self.assertLost(r"^exit codes worker 1: -9, ps 0: None$")

  def test_who_comes_back_when_the_job_is_over_may_fail(self):
    self.outcome.exit_codes["worker 1"] = 143
    self.assertLost(r"^exit codes worker 1: 143$")
    self.outcome.too_late = ["worker 1"]
    self.assertEqual(self._judge().problems, [])

  def test_a_job_that_does_not_end(self):
    self.outcome.failure = "not over after 180 s: ps 0"
    self.assertLost("not over after 180 s")

  def test_a_fault_that_did_not_happen(self):
    self.outcome.struck = []
    self.assertEmpty(self._judge().problems)  # It is waited for again.
    self.outcome.fault = Fault(save_phases.BEFORE_SAVE, WORKER)
    self.assertLost("moment never came")

  def test_positions(self):
    self.outcome.positions = [_STEPS // 2, _STEPS // 2 - 1]
    self.assertLost("19,168 examples trained")

  def test_a_worse_model(self):
    problems = self._judge(loss_limit=1e-6).problems
    self.assertRegex(problems[0], r"held-out loss 0\.\d+ is above 0.0000")
    self.assertNotEmpty(self._judge(loss_limit=float("nan")).problems)

  def test_leftovers(self):
    tables = self.model_dir / f"model.ckpt-{_STEPS}.tables"
    for name in (
      tables / "part-00000-of-00001.tmp-0123456789abcdef",
      self.model_dir / "model.ckpt-7.index",
      self.model_dir / f"model.ckpt-{_STEPS}.new.index",
      self.model_dir / "checkpoint.tmp",
    ):
      with self.subTest(name.name):
        name.touch()
        self.assertLost(f"^left behind: .*{name.name}$")
        name.unlink()
    (self.model_dir / "model.ckpt-7.tables").mkdir()
    self.assertLost("^left behind: model.ckpt-7.tables$")

  def test_more_checkpoints_than_are_kept(self):
    _train(str(self.model_dir), steps=50)
    self.outcome.restarts["worker 1"] = 50
    with absltest.mock.patch.object(asked, "CHECKPOINTS_KEPT", 1):
      self.assertLost(f"not needed any more: model.ckpt-{_STEPS}$", *_both("twice"))

  def test_a_checkpoint_that_is_not_final(self):
    checkpoint.mark(checkpoint.latest_checkpoint(str(self.model_dir)), final=False)
    self.assertLost("is not final")

  def _damage(self, step: int) -> None:
    files = (self.model_dir / f"model.ckpt-{step}.tables").glob("rows-*")
    file = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

  def test_a_damaged_checkpoint(self):
    self._damage(_STEPS)
    self.assertLost(f"model.ckpt-{_STEPS} is not sound: ", "a checksum is wrong")

  def test_a_damaged_checkpoint_before_which_there_is_a_sound_one(self):
    _train(str(self.model_dir), steps=50)
    self.outcome.restarts["worker 1"] = 50
    newest = _STEPS + 50
    self._damage(newest)
    self.assertLost(
      f"model.ckpt-{newest} is not sound: step {_STEPS} was evaluated in its place",
      f"model.ckpt-{newest}.* a checksum is wrong",
    )

  def test_a_damaged_checkpoint_behind_a_sound_one(self):
    _train(str(self.model_dir), steps=50)
    self.outcome.restarts["worker 1"] = 50
    self._damage(_STEPS)
    self.assertLost(
      f"model.ckpt-{_STEPS}.* a checksum is wrong", *_both("have 50 twice")
    )

  def test_no_checkpoint(self):
    shutil.rmtree(self.model_dir)
    self.assertLost("^no checkpoint$")

  def test_batches_that_are_missing(self):
    shutil.rmtree(self.model_dir)
    _train(str(self.model_dir), max_steps=_STEPS - 100)
    self.outcome.restarts["worker 1"] = 100  # Allows for the global step.
    self.assertLost(*_both("miss 100 batches and have 0 twice"))

  def test_batches_that_are_twice(self):
    # As without positions: the data begin anew.
    with absltest.mock.patch.object(asked, "PASSES", 3):
      shutil.rmtree(self.model_dir)
      _train(str(self.model_dir))
    self.outcome.restarts["worker 1"] = 300
    self.assertLost(*_both("miss 0 batches and have 300 twice"))


if __name__ == "__main__":
  absltest.main()
