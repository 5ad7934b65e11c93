from absl.testing import absltest

from monolith.native_training.local_runner.worker_progress import WorkerProgress

_BATCH = 10


def _content(batches: int, position: int, **others) -> dict:
  content = {"batches": batches, "position": position, "examples": batches * _BATCH}
  return {**content, **others}


class WorkerProgressTest(absltest.TestCase):
  def _seen(self, *contents: dict) -> tuple[int, int]:
    """Examples and examples trained again, when the contents were seen in turn."""
    progress = WorkerProgress()
    examples = 0
    for content in contents:
      progress.see(content)
      self.assertGreaterEqual(progress.examples, examples)
      examples = progress.examples
    return examples, progress.examples_trained_again

  def test_undisturbed(self):
    self.assertEqual(self._seen(_content(5, 5), _content(9, 9)), (90, 0))

  def test_seen_twice(self):
    self.assertEqual(self._seen(_content(5, 5), _content(5, 5)), (50, 0))

  def test_a_small_last_batch(self):
    contents = _content(5, 5), _content(6, 6, examples=53)
    self.assertEqual(self._seen(*contents), (53, 0))

  def test_the_model_goes_back_under_a_worker_that_lives(self):
    # A server was restarted: 20 was reached, the checkpoint is of 12, then 30.
    contents = _content(20, 20), _content(22, 14), _content(38, 30)
    self.assertEqual(self._seen(*contents), (300, 80))

  def test_a_restarted_worker_goes_on_where_it_was(self):
    self.assertEqual(self._seen(_content(20, 20), _content(10, 30)), (300, 0))

  def test_a_restarted_worker_goes_back(self):
    contents = _content(20, 20), _content(1, 13), _content(18, 30)
    self.assertEqual(self._seen(*contents), (300, 80))

  def test_a_restarted_worker_with_as_many_batches(self):
    contents = _content(20, 20, pid=1), _content(25, 30, pid=2)
    self.assertEqual(self._seen(*contents), (300, 150))

  def test_a_restarted_worker_that_tells_nothing_at_first(self):
    contents = _content(20, 20), {"state": "training"}, _content(20, 30)
    self.assertEqual(self._seen(*contents), (300, 100))

  def test_steps_that_the_file_did_not_tell_of_count(self):
    # Killed some steps after its last word.
    self.assertEqual(self._seen(_content(20, 20), _content(6, 30)), (300, 0))

  def test_three_processes(self):
    contents = _content(20, 20), _content(5, 15), _content(2, 14), _content(18, 30)
    # Back from 20 to 10, and from 15 to 12.
    self.assertEqual(self._seen(*contents), (300, 130))

  def test_what_an_earlier_run_has_trained_does_not_count(self):
    self.assertEqual(self._seen(_content(1, 101), _content(20, 120)), (200, 0))

  def test_without_positions(self):
    contents = {"examples": 50}, {"examples": 90}, {"examples": 10}, {"state": "done"}
    self.assertEqual(self._seen(*contents), (90, 0))

  def test_before_the_first_batch(self):
    self.assertEqual(
      self._seen({}, {"examples": 1}, _content(1, 1), _content(3, 3)), (30, 0)
    )


if __name__ == "__main__":
  absltest.main()
