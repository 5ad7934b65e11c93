import threading
import time

from absl.testing import absltest, parameterized

from monolith.native_training.fault_injection import save_phases


class StopTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.other_side = save_phases.Stop(self.folder)

  def _reach_in_a_thread(self, stop: save_phases.Stop) -> threading.Thread:
    thread = threading.Thread(target=stop.reach, args=(save_phases.BEFORE_SAVE,))
    thread.start()
    self.addCleanup(thread.join)
    self.addCleanup(self.other_side.go_on)
    return thread

  def test_stops_until_it_may_go_on(self):
    thread = self._reach_in_a_thread(
      save_phases.Stop(self.folder, save_phases.BEFORE_SAVE)
    )
    while not self.other_side.is_reached():
      time.sleep(0.01)
    thread.join(0.1)
    self.assertTrue(thread.is_alive())
    self.other_side.go_on()
    thread.join(10)
    self.assertFalse(thread.is_alive())

  def test_passes_other_phases_and_earlier_times(self):
    stop = save_phases.Stop(self.folder, save_phases.BEFORE_SAVE, time=3)
    stop.reach(save_phases.AFTER_MANIFEST)
    for _ in range(2):
      stop.reach(save_phases.BEFORE_SAVE)
    self.assertFalse(self.other_side.is_reached())
    self._reach_in_a_thread(stop)
    while not self.other_side.is_reached():
      time.sleep(0.01)

  def test_the_next_chief_does_not_stop(self):
    with absltest.mock.patch.object(save_phases, "_PATIENCE_SECONDS", 0.0):
      save_phases.Stop(self.folder, save_phases.BEFORE_SAVE).reach(
        save_phases.BEFORE_SAVE
      )
    self.assertTrue(self.other_side.is_reached())
    # Would hang.
    save_phases.Stop(self.folder, save_phases.BEFORE_SAVE).reach(
      save_phases.BEFORE_SAVE
    )


if __name__ == "__main__":
  absltest.main()
