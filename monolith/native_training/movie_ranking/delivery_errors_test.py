from absl.testing import absltest

from monolith.native_training.movie_ranking.delivery_errors import DeliveryErrors


class DeliveryErrorsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._now = 100.0
    self._lines: list[str] = []
    self._errors = DeliveryErrors(self._lines.append, lambda: self._now)

  def test_the_first_is_told_at_once(self):
    self._errors.tell()
    self.assertEqual(self._lines, [])
    self._errors.add("too large")
    self._errors.tell()
    self.assertEqual(self._lines, ["1 not delivered, 1 in all: too large (1)"])

  def test_what_follows_is_told_together(self):
    self._errors.add("too large")
    self._errors.tell()
    for _ in range(49):
      self._now += 0.1
      self._errors.add("too large")
      self._errors.add("timed out", 20)
      self._errors.tell()
    self.assertLen(self._lines, 1)
    self._now += 0.2
    self._errors.tell()
    self.assertEqual(
      self._lines[1:],
      ["1,029 not delivered, 1,030 in all: timed out (980), too large (49)"],
    )
    self._now += 60
    self._errors.tell()
    self.assertLen(self._lines, 2)
    self.assertEqual(self._errors.counts, {"too large": 50, "timed out": 980})


if __name__ == "__main__":
  absltest.main()
