from absl.testing import absltest

from monolith.native_training.training.checkpoints.increments import Increments
from monolith.native_training.training.checkpoints.manifest import Manifest


class IncrementsTest(absltest.TestCase):
  def _save(self, increments: Increments, name: str, rows: int) -> str:
    """Saves; the base that was used."""
    base, base_save_id = increments.base()
    increments.wrote(
      Manifest(
        global_step=1,
        save_id=f"id of {name}",
        table_files=[],
        tables=[],
        rows=rows,
        base=base,
        base_save_id=base_save_id,
      )
    )
    increments.saved_as(name)
    self.assertEqual(base_save_id, f"id of {base}" if base else "")
    return base

  def test_so_many_follow_one_with_all_rows(self):
    increments = Increments(2)
    bases = [self._save(increments, str(i), 0 if i % 3 else 100) for i in range(7)]
    self.assertEqual(bases, ["", "0", "1", "", "3", "4", ""])

  def test_none_where_none_are_wanted(self):
    increments = Increments(0)
    self.assertEqual([self._save(increments, str(i), 9) for i in range(3)], [""] * 3)

  def test_all_rows_sooner_where_much_has_changed(self):
    increments = Increments(9)
    bases = [self._save(increments, str(i), n) for i, n in enumerate((100, 40, 30, 9))]
    self.assertEqual(bases, ["", "0", "1", ""])

  def test_forgets(self):
    increments = Increments(9)
    self._save(increments, "0", 100)
    increments.forget()
    self.assertEqual(increments.base(), ("", ""))


if __name__ == "__main__":
  absltest.main()
