"""What a run of the demo on a stream shows, with programs that only seem to train."""

import contextlib
import json
import os
import pathlib

from absl.testing import absltest, flagsaver

from monolith.native_training.local_runner import console
from monolith.native_training.movie_ranking.demo import demo_stream
from monolith.native_training.movie_ranking.demo.demo_test_case import DemoTestCase


class ClusterTest(DemoTestCase):
  """On a stream of somebody else's."""

  def setUp(self):
    super().setUp()
    self.enter_context(absltest.mock.patch.object(demo_stream, "check_cluster"))
    self.enter_context(
      flagsaver.flagsaver(training_type="stream", kafka_servers="there:9092")
    )

  def test_settings_are_in_no_command_line(self):
    settings = ["sasl.username=me", 'sasl.password= #1 = it\'s "mine"']
    with flagsaver.flagsaver(kafka_configuration=settings):
      code, output = self.run_demo(worker_1="tell_flags")
    self.assertEqual(code, 0, output)
    self.assertRegex(output, "the command line is .*--kafka_servers=there:9092")
    self.assertNotRegex(output, "the command line is .*sasl")
    self.assertIn(
      "the file is 600 and has --kafka_configuration=sasl.username=me\n", output
    )
    self.assertIn(f"--kafka_configuration={settings[1]}\n", output)

  def test_how_many_ratings_there_will_be_is_not_known(self):
    prepared = json.dumps({"size": "100k", "train": 89_809})
    pathlib.Path(self.folder, "ratings.json").write_text(prepared)
    with (
      flagsaver.flagsaver(ratings_dir=self.folder),
      absltest.mock.patch.object(console, "_SECONDS_BETWEEN_PLAIN_STATUSES", 0),
    ):
      code, output = self.run_demo()
      self.assertEqual(code, 0, output)
      self.assertIn("2 workers, topic movie-ratings; model in", output)
      self.assertRegex(output, r"training, \d+ s, [\d,]+ examples, ")
      self.assertNotIn("examples of", output)
      self.assertRegex(output, "ratings +topic movie-ratings; evaluated on MovieLens")
      with flagsaver.flagsaver(training_type="batch", kafka_servers="", epochs=2):
        _, output = self.run_demo()
      self.assertRegex(output, r"training, \d+ s, [\d,]+ examples of 179,618 ")

  def test_a_reason_in_a_line_is_told_once_and_last(self):
    code, output = self.run_demo(worker_0="hang", worker_1="tell_why")
    self.assertEqual(code, 1)
    self.assertEndsWith(
      output,
      "worker 1 failed (exit code 1): 9 of 10 are bad. All logs are in "
      f"{self.folder}/logs\n",
    )
    self.assertEqual(output.count("9 of 10"), 1)
    with flagsaver.flagsaver(restart_failed=True):
      _, output = self.run_demo(worker_0="last", worker_1="tell_why")
    self.assertIn("[worker 1] train: 9 of 10 are bad\n", output)


# Has sent a few ratings, and the others when it has ended.
_PRODUCER = """
import json, os, sys, time
path = next(a for a in sys.argv if a.startswith("--progress_file=")).partition("=")[2]
with open(path + ".tmp", "w") as file:
  json.dump({"sent": 7}, file)
os.rename(path + ".tmp", path)
time.sleep(%s)
open(os.path.join(os.environ["MARKS"], "producer has ended"), "w").close()
os._exit(0)  # At once.
"""


class _Broker(contextlib.nullcontext):
  bootstrap_servers = "here:9092"

  def __init__(self, **unused_settings):
    super().__init__()

  def check(self) -> None:
    pass


class OwnBrokerTest(DemoTestCase):
  """On a stream of the demo's own."""

  def setUp(self):
    super().setUp()
    self.enter_context(absltest.mock.patch.object(demo_stream, "LocalBroker", _Broker))
    self.result_json = os.path.join(self.folder, "result.json")
    self.enter_context(
      flagsaver.flagsaver(
        training_type="stream", ratings_dir=self.folder, result_json=self.result_json
      )
    )
    pathlib.Path(self.folder, "ratings.json").write_text('{"train": 90, "size": "1m"}')

  def _train(self, producer_seconds: float, **behaviour) -> tuple[str, dict]:
    program = ("-c", _PRODUCER % producer_seconds)
    with absltest.mock.patch.object(demo_stream, "_PROGRAM", program):
      code, output = self.run_demo(**behaviour)
    self.assertEqual(code, 0, output)
    return output, json.loads(pathlib.Path(self.result_json).read_text())["stream"]

  def test_training_that_ends_before_its_producer_is_told(self):
    output, result = self._train(600)
    self.assertIn("warning: training ended when 7 of 90 ratings were sent", output)
    self.assertRegex(output, r"\n +sent +only 7 of 90\n")
    self.assertEqual((result["sent"], result["to_send"]), (7, 90))

  def test_a_producer_that_has_ended_is_not_told_of(self):
    output, result = self._train(0.1, worker_0="last", producer="end")
    self.assertNotIn("sent ", output)
    self.assertEqual((result["sent"], result["to_send"]), (None, None))


if __name__ == "__main__":
  absltest.main()
