import contextlib
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable

from absl import flags
from absl.testing import absltest, flagsaver

from monolith.native_training import demo
from monolith.native_training.local_runner import console, local_cluster
from monolith.native_training.local_runner.processes_naming import processes_naming
from monolith.native_training.movie_ranking.demo import (
  demo_flags,
  demo_job,
  demo_local_runner,
)
from monolith.native_training.movie_ranking.demo.demo_test_case import (
  DemoTestCase,
  two_free_ports,
)


class DemoLocalRunnerTest(DemoTestCase):
  def test_result(self):
    path = os.path.join(self.folder, "result.json")
    with flagsaver.flagsaver(result_json=path):
      code, output = self.run_demo()
    self.assertEqual(code, 0, output)
    result = json.loads(pathlib.Path(path).read_text())
    self.assertEqual(result["training_type"], "batch")
    self.assertEqual(result["dataset"], "100k")
    self.assertEqual(result["examples"], 1000)
    self.assertEqual(result["test_rmse"], 0.875)
    self.assertEqual(result["tables"], {"mov": 3})
    self.assertGreater(result["seconds"], 0.4)
    self.assertAlmostEqual(result["examples_per_second"], 1000 / result["seconds"])
    self.assertRegex(output, r"test RMSE +0.8750")
    self.assertRegex(output, r"tables +mov: 3 rows, 0.0 MB")
    self.assertIn(f"tensorboard --logdir={self.folder}", output)

  def test_log_lines_are_short_and_kept_in_full(self):
    _, output = self.run_demo()
    self.assertIn("[worker 0] warning: no MovieLens today\n", output)
    self.assertNotIn("no GPU", output)
    log = pathlib.Path(self.folder, "logs", "worker-0.log").read_text()
    self.assertIn("W1123 17:20:42.145242 139706958789504 ratings.py:119] no Mov", log)
    self.assertIn("no GPU", log)

  def test_synthetic_ratings_are_called_synthetic(self):
    with flagsaver.flagsaver(dataset="synthetic"):
      code, output = self.run_demo()
    self.assertEqual(code, 0, output)
    self.assertRegex(output, r"2 workers, SYNTHETIC ratings")
    self.assertRegex(output, r"ratings +SYNTHETIC ratings")

  def test_one_process(self):
    with flagsaver.flagsaver(num_ps=0, num_workers=1):
      code, output = self.run_demo()
    self.assertEqual(code, 0, output)
    self.assertRegex(output, r"examples trained +500")

  def test_any_process_that_fails_fails_the_job(self):
    for name in ("worker_1", "ps_0", "evaluation"):
      with self.subTest(name):
        others = {"worker_0": "hang"} if name != "worker_0" else {}
        code, output = self.run_demo(**{name: "fail"}, **others)
        self.assertEqual(code, 1)
        told = name.replace("_", " ")
        self.assertIn(f"[{told}] something is wrong", output)
        self.assertIn(f"{told} failed (exit code 1)", output)

  def test_failed_processes_are_started_again_if_asked(self):
    path = os.path.join(self.folder, "result.json")
    with flagsaver.flagsaver(result_json=path, restart_failed=True):
      code, output = self.run_demo(
        worker_0="last", worker_1="fail_once", ps_0="fail_once"
      )
    self.assertEqual(code, 0, output)
    for name in ("worker 1", "ps 0"):
      self.assertRegex(output, rf"{name} failed \(SIGKILL\) .* restart 1 in 1 s")
    result = json.loads(pathlib.Path(path).read_text())
    self.assertEqual(
      result["restarts"], {"ps 0": 1, "ps 1": 0, "worker 0": 0, "worker 1": 1}
    )
    # Killed at 30 batches and restarted from 20: 10 batches of 10 examples.
    self.assertEqual(result["examples_trained_again"], 100)
    self.assertEqual(result["examples"], 1000)
    self.assertRegex(output, r"trained again +100\n +restarts +ps 0: 1, worker 1: 1\n")

  def test_without_being_asked_nothing_is_started_again(self):
    code, output = self.run_demo(worker_1="fail_once")
    self.assertEqual(code, 1)
    self.assertIn("worker 1 failed (SIGKILL)", output)

  def test_an_evaluation_that_fails_is_not_started_again(self):
    with flagsaver.flagsaver(restart_failed=True):
      code, output = self.run_demo(evaluation="fail")
    self.assertEqual(code, 1)
    self.assertIn("evaluation failed (exit code 1)", output)

  def test_who_stays_when_the_chief_has_left_is_ended(self):
    with (
      absltest.mock.patch.object(demo_job, "_EXIT_SECONDS", 0.5),
      flagsaver.flagsaver(restart_failed=True),
    ):
      code, output = self.run_demo(worker_1="hang")
    self.assertEqual(code, 0, output)
    self.assertIn("worker 1 did not end", output)

  def test_a_server_that_stays_is_ended(self):
    with absltest.mock.patch.object(demo_job, "_EXIT_SECONDS", 0.5):
      code, output = self.run_demo(ps_1="stay")
    self.assertEqual(code, 0, output)
    self.assertIn("ps 1 did not end", output)

  def _run_unread(self, words: str, then: Callable[[], object], **behaviour) -> None:
    """Runs the demo, whose output is read until it has the words."""
    reader, writer = os.pipe()

    def read() -> None:
      with open(reader) as lines:
        any(words in line for line in lines)
      then()

    reading = threading.Thread(target=read)
    reading.start()
    errors = io.StringIO()
    with open(writer, "w") as output, contextlib.redirect_stderr(errors):
      code = self.start_demo(output, **behaviour)
    reading.join()
    self.assertEqual((code, errors.getvalue()), (1, ""))
    self.assertEqual(processes_naming(self.folder), [])

  def test_it_ends_quietly_where_nobody_reads_on(self):
    with absltest.mock.patch.object(console, "_SECONDS_BETWEEN_PLAIN_STATUSES", 0):
      self._run_unread("[worker 0] ", lambda: None, worker_0="hang")

  def test_it_saves_where_ctrl_c_has_ended_whoever_read(self):
    self._run_unread(
      "ready to save",
      lambda: os.kill(os.getpid(), signal.SIGINT),
      worker_0="save_slowly",
      worker_1="hang",
    )
    self.assertTrue(os.path.exists(os.path.join(self.folder, "saved")))

  def test_nothing_trained_is_a_failure(self):
    path = os.path.join(self.folder, "result.json")
    with flagsaver.flagsaver(result_json=path):
      code, output = self.run_demo(worker_0="nothing", worker_1="nothing")
    self.assertEqual(code, 1, output)
    self.assertIn("0 examples were trained: no worker got a batch of 512", output)
    self.assertFalse(os.path.exists(path))

  def test_one_worker_without_data_is_none(self):
    code, output = self.run_demo(worker_1="nothing")
    self.assertEqual(code, 0, output)
    self.assertRegex(output, r"examples trained +500")

  def test_a_run_that_fails_leaves_no_result(self):
    path = pathlib.Path(self.folder, "result.json")
    path.write_text('{"of": "an earlier run"}')
    with flagsaver.flagsaver(result_json=str(path)):
      code, _ = self.run_demo(worker_1="fail")
    self.assertEqual(code, 1)
    self.assertEmpty([n for n in os.listdir(self.folder) if n.startswith("result")])

  def test_a_refused_run_leaves_no_folder(self):
    temporary = self.create_tempdir().full_path
    with (
      absltest.mock.patch.object(tempfile, "tempdir", temporary),
      flagsaver.flagsaver(
        model_dir="", result_json=os.path.join(temporary, "missing", "r.json")
      ),
    ):
      code, _ = self.run_demo()
    self.assertEqual(code, 2)
    self.assertEmpty(os.listdir(temporary))

  def test_a_model_of_other_ratings_is_refused(self):
    self.run_demo()
    pathlib.Path(self.folder, "model.ckpt-1.index").touch()
    with flagsaver.flagsaver(dataset="synthetic"):
      code, output = self.run_demo()
    self.assertEqual(code, 2)
    self.assertIn("holds a model trained on --dataset=100k", output)

  def test_refusals(self):
    for settings, message in (
      ({"result_json": "/no/such/r.json"}, "--result_json: cannot write in folder /no"),
      ({"batch_size": 1_000_000}, "--batch_size=1000000 is more than a worker has"),
      (
        {"batch_size": 90_001, "epochs": 1, "num_ps": 0, "num_workers": 1},
        "--batch_size=90001 is more than there is to train on: about 90,000 examples",
      ),
      (
        {"dataset": "synthetic", "num_ratings": 100, "epochs": 1},
        "--batch_size=512 is more than a worker has to train on: about 45 examples",
      ),
      (
        {"training_type": "stream", "dataset": "synthetic"},
        "--dataset=synthetic cannot be streamed",
      ),
      ({"training_type": "stream", "topic": ""}, "--topic: '' is no name of a topic"),
      ({"training_type": "stream", "topic": "^a"}, "--topic: '^a' is no name of a"),
      (
        {"training_type": "stream", "kafka_servers": "a:1", "topic": "^("},
        "--topic: the pattern '^(' is no regular expression",
      ),
      (
        {"training_type": "stream", "rate": float("inf")},
        "--rate=inf is no number of ratings a second",
      ),
      (
        {"training_type": "stream", "rate": 0.6, "stream_timeout": 3000},
        "--rate=0.6 leaves 1,667 ms between two ratings, and training ends after 3,000",
      ),
      (
        {"training_type": "stream", "max_bad_message_ratio": float("nan")},
        "--max_bad_message_ratio=nan is no share",
      ),
      ({"kafka_servers": "a:1"}, "--kafka_servers=a:1 is for --training_type=stream"),
      (
        {"training_type": "stream", "kafka_configuration": ["ssl.ca.pem=a\nb"]},
        "--kafka_configuration=ssl.ca.pem=... has several lines",
      ),
      (
        {"training_type": "stream", "kafka_configuration": ["sasl.password=a "]},
        "--kafka_configuration=sasl.password=... ends with a blank",
      ),
      (
        {"training_type": "stream", "kafka_configuration": ["group.instance.id=a"]},
        "--kafka_configuration: 'group.instance.id' names one member of a group, and "
        "each of the 2 workers",
      ),
      ({"num_ps": 0}, "2 workers need at least one parameter server"),
      ({"model_dir": "/proc/x"}, "/proc/x"),
    ):
      with self.subTest(message), flagsaver.flagsaver(**settings):
        code, output = self.run_demo()
        self.assertEqual(code, 2)
        self.assertIn(message, output)
        self.assertLen(output.splitlines(), 1)


class ProgramTest(absltest.TestCase):
  def _run(self, *arguments: str) -> subprocess.CompletedProcess:
    code = """
    import sys
    from monolith.native_training import demo
    if "--imports" in sys.argv:
      sys.exit("tensorflow" in sys.modules)
    demo.demo_local_runner.run()
    """
    return subprocess.run(
      [sys.executable, "-c", textwrap.dedent(code), *arguments],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      capture_output=True,
      text=True,
    )

  def test_unknown_flags_are_named_in_one_line_and_ignored(self):
    run = self._run("--kafka_servers=a:1", "--cxxopt=-std=c++14", "--spam", "eggs")
    self.assertEqual(run.returncode, 2)
    ignored, refusal = run.stderr.splitlines()
    self.assertEqual(
      ignored, "ignored, not flags of this demo: --cxxopt=-std=c++14 --spam eggs"
    )
    self.assertIn("--kafka_servers=a:1", refusal)

  def test_what_only_the_sender_decides_is_refused(self):
    for flag in ("--epochs=2", "--rate=0", "--partitions=8", "--seed=1"):
      run = self._run("--training_type=stream", "--kafka_servers=127.0.0.1:1", flag)
      self.assertEqual(run.returncode, 2)
      name = flag.partition("=")[0]
      self.assertIn(f"demo: {name} has no effect with --kafka_servers: ", run.stderr)

  def test_flags_without_effect_are_refused(self):
    for flags_, message in (
      (["--topic=t"], "--topic is for --training_type=stream"),
      (["--group=g"], "--group is for --training_type=stream"),
      (["--max_bad_message_ratio=1"], "--max_bad_message_ratio is for --training_typ"),
      (["--rate=5"], "--rate is for --training_type=stream"),
      (["--partitions=5"], "--partitions is for --training_type=stream"),
      (["--stream_timeout=5"], "--stream_timeout is for --training_type=stream"),
      (["--kafka_configuration=a=b"], "--kafka_configuration is for --training_type="),
      (["--num_ratings=5"], "--num_ratings is for --dataset=synthetic"),
      (["--serve_port=8500"], "--serve_port is for --serve"),
      (["--noserve", "--serve_rest_api_port=1"], "--serve_rest_api_port is for --ser"),
      (["--training_type=stream", "--seed=1"], "--seed has no effect on a stream"),
      (["--training_type=stream", "--num_ratings=9"], "--num_ratings has no effect on"),
      (
        ["--training_type=stream", "--kafka_configuration=security.protocol=SSL"],
        "--kafka_configuration=security.protocol=SSL is for --kafka_servers",
      ),
      (
        ["--training_type=stream", "--kafka_configuration=enable.auto.commit=true"],
        "--kafka_configuration: 'enable.auto.commit' cannot be set: offsets are",
      ),
      (
        [
          "--training_type=stream",
          "--kafka_servers=127.0.0.1:1",
          "--kafka_configuration=fetch.maximum=3",
        ],
        '--kafka_configuration: No such configuration property: "fetch.maximum"\n',
      ),
    ):
      with self.subTest(flags_):
        run = self._run(*flags_)
        self.assertEqual(run.returncode, 2)
        self.assertStartsWith(run.stderr, f"demo: {message}")

  def test_a_port_in_use_is_named(self):
    port = two_free_ports() + 1
    with socket.socket() as busy:
      busy.bind(("127.0.0.1", port))
      busy.listen()
      for flags_, named in (
        ([f"--metrics_port={port - 1}", "--num_workers=2"], "--metrics_port + 1"),
        (["--serve", f"--serve_port={port}"], "--serve_port"),
        (["--serve", f"--serve_rest_api_port={port}"], "--serve_rest_api_port"),
      ):
        with self.subTest(named):
          run = self._run(*flags_)
          self.assertEqual(run.returncode, 2)
          self.assertStartsWith(
            run.stderr, f"demo: {named}={port}: cannot listen there: Address already"
          )

  def test_one_port_for_two_is_refused(self):
    (port,) = local_cluster.free_ports(1)
    run = self._run("--serve", f"--serve_port={port}", f"--serve_rest_api_port={port}")
    self.assertEqual(run.returncode, 2)
    self.assertIn(f"--serve_port and --serve_rest_api_port are both {port}", run.stderr)

  def test_a_group_is_of_a_cluster(self):
    run = self._run("--training_type=stream", "--group=mine")
    self.assertEqual(run.returncode, 2)
    self.assertIn("--group has no effect without --kafka_servers", run.stderr)

  def test_a_wrong_value_is_an_error(self):
    run = self._run("--dataset=2m")
    self.assertEqual(run.returncode, 2)
    self.assertIn("value should be one of <100k|1m|25m|synthetic>", run.stderr)

  def test_does_not_import_tensorflow(self):
    self.assertEqual(self._run("--imports").returncode, 0)

  def test_help_lists_the_flags(self):
    for module in (demo, demo_local_runner):
      told = [f.name for f in flags.FLAGS.get_key_flags_for_module(module)]
      self.assertContainsSubset(
        [f.name for f in flags.FLAGS.flags_by_module_dict()[demo_flags.__name__]], told
      )


if __name__ == "__main__":
  absltest.main()
