import json
import pathlib

from absl.testing import absltest

from monolith.native_training.fault_rounds import round_table


class RoundTableTest(absltest.TestCase):
  def test_cells_stand_under_their_heading(self):
    table = round_table.RoundTable((("round", 5), ("killed", -8), ("loss", 6)))
    self.assertEqual(
      table.heading(),
      "| round | killed   |   loss |\n| ----- | -------- | ------ |",
    )
    self.assertEqual(table.row([12, "ps 1", None], []), "|    12 | ps 1     |      - |")

  def test_what_was_lost_stands_below(self):
    table = round_table.RoundTable((("round", 5),))
    self.assertEqual(
      table.row([1], ["no checkpoint", "a traceback"]).splitlines(),
      ["|     1 |", "      no checkpoint", "      a traceback"],
    )

  def test_lost(self):
    self.assertEqual(round_table.lost([]), "none lost")
    self.assertEqual(round_table.lost([3, "u1"]), "2 lost (3, u1)")

  def test_json_is_there_as_a_whole(self):
    path = pathlib.Path(self.create_tempdir().full_path, "table.json")
    round_table.write_json(str(path), {"rounds": [1]})
    self.assertEqual(json.loads(path.read_text()), {"rounds": [1]})
    with self.assertRaises(TypeError):
      round_table.write_json(str(path), {"rounds": object()})
    self.assertEqual(json.loads(path.read_text()), {"rounds": [1]})


if __name__ == "__main__":
  absltest.main()
