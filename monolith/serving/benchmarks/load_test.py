"""What is read from h2load's log."""

from absl.testing import absltest

from monolith.serving.benchmarks import load


class LoadTest(absltest.TestCase):
  def test_a_log(self):
    lines = [f"17000000\t200\t{us}" for us in range(1000, 101_000, 1000)]
    result = load.of_log([*lines, "17000000\t503\t50000"], 2.0)
    self.assertEqual(result.per_second, 50.0)
    self.assertEqual(result.failed, 1)
    self.assertEqual(result.p50, 50.0)
    self.assertEqual(result.p99, 99.0)

  def test_errors_of_grpc_are_no_answers(self):
    lines = [f"17000000\t200\t{us}" for us in range(1000, 101_000, 1000)]
    result = load.of_log(lines, 2.0).without_refused(20, 2.0)
    self.assertEqual((result.per_second, result.failed), (40.0, 20))

  def test_no_answers(self):
    with self.assertRaisesRegex(RuntimeError, "no answer"):
      load.of_log([], 1.0)

  def test_a_frame(self):
    self.assertEqual(load.grpc_frame(b"abc"), b"\0\0\0\0\3abc")


if __name__ == "__main__":
  absltest.main()
