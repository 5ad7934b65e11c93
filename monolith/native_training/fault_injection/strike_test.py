import os
import pathlib

from absl.testing import absltest

from monolith.native_training.fault_injection import asked, save_phases
from monolith.native_training.fault_injection.fault_plan import (
  ALL,
  CHIEF,
  DENSE_FILE,
  RANDOM,
  SERVER,
  TABLE_FILE,
  WORKER,
  Fault,
)
from monolith.native_training.fault_injection.strike import Strike, unfinished_files


class _Processes:
  """Stands for a job, of which one process has ended already."""

  def __init__(self):
    self.killed: list[str] = []

  def kill(self, name: str) -> bool:
    self.killed.append(name)
    return name != "ps 1"


class StrikeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model_dir = self.create_tempdir().full_path
    self.stop = save_phases.Stop(self.create_tempdir().full_path)
    self.processes = _Processes()

  def _strike(self, fault: Fault) -> Strike:
    return Strike(fault, self.processes, self.model_dir, self.stop)

  def test_each_victim(self):
    for victim, names in (
      (WORKER, ["worker 1"]),
      (CHIEF, ["worker 0"]),
      (SERVER, ["ps 0"]),
      (ALL, ["ps 0", "ps 1", "worker 0", "worker 1"]),
    ):
      with self.subTest(victim):
        self.processes.killed.clear()
        strike = self._strike(Fault(RANDOM, victim))
        strike.poll(0)
        self.assertEqual(self.processes.killed, names)
        self.assertEqual(strike.struck, [name for name in names if name != "ps 1"])

  def test_strikes_once(self):
    strike = self._strike(Fault(RANDOM, WORKER))
    for _ in range(3):
      strike.poll(0)
    self.assertEqual(self.processes.killed, ["worker 1"])

  def test_not_before_its_step(self):
    strike = self._strike(Fault(RANDOM, WORKER, share=0.5))
    strike.poll(asked.STEPS // 2 - 1)
    self.assertEqual(strike.struck, [])
    strike.poll(asked.STEPS // 2)
    self.assertEqual(strike.struck, ["worker 1"])

  def test_when_the_chief_has_stopped(self):
    strike = self._strike(Fault(save_phases.BEFORE_SAVE, CHIEF))
    strike.poll(asked.STEPS)
    self.assertEqual(strike.struck, [])
    with absltest.mock.patch.object(save_phases, "_PATIENCE_SECONDS", 0.0):
      save_phases.Stop(self.stop._folder, "phase").reach("phase")
    strike.poll(0)
    self.assertEqual(strike.struck, ["worker 0"])
    # The chief, had it another victim, would not stop for long.
    save_phases.Stop(self.stop._folder, "phase").reach("phase")

  def test_the_server_that_writes(self):
    strike = self._strike(Fault(TABLE_FILE, SERVER, server=1))
    tables = pathlib.Path(self.model_dir, "model.ckpt-7.tables")
    tables.mkdir()
    (tables / "rows-00000-of-00002-0-of-2").touch()
    strike.poll(asked.STEPS)
    self.assertEqual(strike.struck, [])
    file = tables / "rows-00000-of-00002-1-of-2.tmp-0123456789abcdef"
    file.touch()
    strike.poll(asked.STEPS)
    self.assertEqual(strike.struck, ["ps 0"])
    self.assertTrue(strike.was_caught)
    self.assertEqual(unfinished_files(self.model_dir), [os.fspath(file)])

  def test_whoever_it_is_while_a_dense_file_is_written(self):
    file = pathlib.Path(self.model_dir, "model.ckpt-7_temp", "part-00000-of-00002")
    file.parent.mkdir()
    for victim in (SERVER, WORKER):
      strike = self._strike(Fault(DENSE_FILE, victim, server=0))
      strike.poll(asked.STEPS)
      self.assertEqual(strike.struck, [])
      file.touch()
      strike.poll(asked.STEPS)
      self.assertEqual(strike.struck, ["worker 1" if victim == WORKER else "ps 0"])
      self.assertTrue(strike.was_caught)
      file.unlink()


if __name__ == "__main__":
  absltest.main()
