import contextlib
import io
import os
import pathlib
import signal

from absl.testing import absltest, flagsaver

from monolith.native_training.fault_rounds import rounds_program


class RoundsProgramTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._kept = self.create_tempdir().full_path
    self.enter_context(flagsaver.flagsaver(keep=self._kept))
    self.output = self.enter_context(contextlib.redirect_stdout(io.StringIO()))

  def _files(self) -> list[str]:
    return [path.name for path in pathlib.Path(self._kept).rglob("*")]

  def _run(self, play) -> int:
    return rounds_program.run(["program"], "rounds", play)

  def _begin(self, folders: rounds_program.RoundFolders, name: str) -> None:
    os.makedirs(os.path.join(folders.begin(name), f"model-{name}"))

  def test_where_nothing_is_lost_nothing_stays(self):
    def play(folders, signals):
      del signals
      for name in "12":
        self._begin(folders, name)
        folders.end(f"row {name}", is_lost=False)
      return False

    self.assertEqual(self._run(play), 0)
    self.assertEqual(self.output.getvalue(), "row 1\nrow 2\n")
    self.assertEqual(self._files(), [])

  def test_a_lost_round_is_kept(self):
    def play(folders, signals):
      del signals
      for name in "12":
        self._begin(folders, name)
        folders.end(f"row {name}", is_lost=name == "1")
      return True

    self.assertEqual(self._run(play), 1)
    self.assertRegex(
      self.output.getvalue(), r"^row 1\n +kept in .*/rounds-.*/round-1\nrow 2\n$"
    )
    self.assertContainsSubset(["round-1", "model-1"], self._files())
    self.assertNotIn("round-2", self._files())

  def test_a_signal_leaves_only_what_is_lost(self):
    def play(folders, signals):
      self._begin(folders, "1")
      folders.end("row 1", is_lost=True)
      self._begin(folders, "2")
      os.kill(os.getpid(), signal.SIGTERM)
      signals.check()

    with contextlib.redirect_stderr(io.StringIO()) as errors:
      self.assertEqual(self._run(play), 128 + signal.SIGTERM)
    self.assertEqual(errors.getvalue(), "stopped by SIGTERM\n")
    self.assertIn("round-1", self._files())
    self.assertNotIn("round-2", self._files())


if __name__ == "__main__":
  absltest.main()
