import json
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.training.processes import cluster as cluster_lib
from monolith.native_training.training.processes.cluster import Cluster

_PS = ["ps0:1", "ps1:1"]
_WORKERS = ["w0:1", "w1:1"]


def _config(task_type: str, index: int, **jobs) -> str:
  return json.dumps({"cluster": jobs, "task": {"type": task_type, "index": index}})


class ClusterTest(parameterized.TestCase):
  @parameterized.parameters(
    None, "", "{}", '{"task": {"type": "worker", "index": 0}}', '{"cluster": {}}'
  )
  def test_without_a_cluster_one_process_does_everything(self, config):
    cluster = Cluster.from_config(config)
    self.assertTrue(cluster.is_chief)
    self.assertFalse(cluster.is_distributed)
    self.assertEqual((cluster.num_workers, cluster.worker_index), (1, 0))
    self.assertEqual(cluster.ps_devices, [None])

  def test_the_first_worker_is_chief_where_none_is_named(self):
    jobs = dict(worker=_WORKERS, ps=_PS)
    first = Cluster.from_config(_config("worker", 0, **jobs))
    second = Cluster.from_config(_config("worker", 1, **jobs))
    self.assertTrue(first.is_chief)
    self.assertFalse(second.is_chief)
    self.assertEqual([first.worker_index, second.worker_index], [0, 1])
    self.assertEqual(second.num_workers, 2)

  def test_workers_are_counted_after_a_chief(self):
    jobs = dict(chief=["c:1"], worker=_WORKERS, ps=_PS)
    chief = Cluster.from_config(_config("chief", 0, **jobs))
    first = Cluster.from_config(_config("worker", 0, **jobs))
    self.assertTrue(chief.is_chief)
    self.assertFalse(first.is_chief)
    self.assertEqual([chief.worker_index, first.worker_index], [0, 1])
    self.assertEqual(chief.num_workers, 3)

  def test_neither_server_nor_evaluator_is_chief(self):
    jobs = dict(worker=_WORKERS, ps=_PS)
    for task in ("ps", "evaluator"):
      self.assertFalse(Cluster.from_config(_config(task, 0, **jobs)).is_chief)

  def test_an_evaluator_need_not_be_listed(self):
    cluster = Cluster.from_config(_config("evaluator", 0, worker=["w:1"]))
    self.assertEqual(cluster.task_type, "evaluator")
    listed = _config("evaluator", 1, worker=["w:1"], evaluator=["e0:1", "e1:1"])
    self.assertEqual(Cluster.from_config(listed).task_index, 1)

  def test_devices_and_spec(self):
    cluster = Cluster.from_config(_config("worker", 1, worker=_WORKERS, ps=_PS))
    self.assertEqual(cluster.worker_device, "/job:worker/task:1")
    self.assertEqual(
      cluster.ps_devices, [f"/job:ps/task:{i}/device:CPU:0" for i in (0, 1)]
    )
    self.assertEqual(cluster.spec().as_dict(), {"worker": _WORKERS, "ps": _PS})

  def test_a_dict_is_as_good_as_json(self):
    text = _config("worker", 1, worker=_WORKERS, ps=_PS)
    self.assertEqual(Cluster.from_config(json.loads(text)), Cluster.from_config(text))

  def test_schedulers_may_add_keys_of_their_own(self):
    config = json.loads(_config("worker", 0, worker=["w:1"]))
    config["environment"] = "cloud"
    self.assertEqual(Cluster.from_config(config).workers, ("w:1",))

  @parameterized.parameters(
    ("{", "is not JSON"),
    ("[1]", "wanted an object"),
    ('{"cluster": ["w:1"]}', "wanted lists of addresses"),
    ('{"cluster": {"worker": "w:1"}}', "cluster.worker: got 'w:1', wanted a list"),
    ('{"cluster": {"worker": [1]}}', r"cluster.worker: got \[1\], wanted a list"),
    ('{"cluster": {"master": ["m:1"]}}', "got job master, wanted .* chief, worker, ps"),
    (_config("worker", 0, ps=_PS), "neither chief nor worker"),
    (_config("chief", 0, chief=["a:1", "b:1"], ps=_PS), "cluster.chief: got 2"),
    (_config("boss", 0, worker=["w:1"]), "task.type: got 'boss', wanted one of chief"),
    (_config("worker", 1, worker=["w:1"]), "got worker 1, but the cluster has 1"),
    (_config("worker", -1, worker=["w:1"]), "got worker -1"),
    (_config("worker", "0", worker=["w:1"]), "task.index: got '0', wanted a whole"),
    (_config("worker", True, worker=_WORKERS, ps=_PS), "task.index: got True"),
    (_config("worker", 0.0, worker=["w:1"]), "task.index: got 0.0"),
    (_config(["worker"], 0, worker=["w:1"]), r"task.type: got \['worker'\]"),
    (_config("chief", 0, worker=["w:1"]), "got chief 0, but the cluster has 0"),
    (_config("ps", 2, worker=["w:1"], ps=_PS), "got ps 2, but the cluster has 2"),
    (_config("evaluator", 1, worker=["w:1"]), "got evaluator 1, but .* has 1"),
    ('{"cluster": {"worker": ["w:1"]}, "task": "worker"}', "task: got 'worker'"),
    ('{"cluster": {"worker": ["w:1"]}, "task": [0]}', r"task: got \[0\]"),
    (_config("worker", 0, worker=_WORKERS), "got 2 workers and no ps"),
    (_config("worker", 1), "task: got .* without a cluster, in which only"),
    (_config("ps", 0), "task: got .* without a cluster"),
    (_config("evaluator", 0), "task: got .* without a cluster"),
    ('{"task": ["worker", 0]}', "task: got .* without a cluster"),
  )
  def test_what_describes_no_cluster_is_refused(self, config, message):
    with self.assertRaisesRegex(ValueError, f"TF_CONFIG.*{message}"):
      Cluster.from_config(config)

  @parameterized.parameters(
    ({}, "type"),
    ({"task": None}, "type"),
    ({"task": {}}, "type"),
    ({"task": {"index": 1}}, "type"),
    ({"task": {"type": "worker"}}, "index"),
  )
  def test_one_process_of_several_has_to_say_which_it_is(self, task, missing):
    for jobs in ({"worker": _WORKERS, "ps": _PS}, {"chief": ["c:1"], "ps": _PS[:1]}):
      with self.assertRaisesRegex(ValueError, f"TF_CONFIG task.{missing}: is missing"):
        Cluster.from_config({"cluster": jobs, **task})

  def test_the_only_process_need_not_say_which_it_is(self):
    self.assertTrue(Cluster.from_config({"cluster": {"worker": ["w:1"]}}).is_chief)

  @parameterized.parameters(
    "w",
    "w:",
    ":1",
    "w:0",
    "w:65536",
    "w:+1",
    "w:1 ",
    " w:1",
    "w x:1",
    "w:\u0661",
    "grpc://w:1",
    "w/x:1",
    "w:1:2",
    "w..svc:1",
    "w" * 64 + ":1",
    "",
  )
  def test_what_is_no_address_is_refused(self, address):
    config = _config("worker", 0, worker=[address])
    with self.assertRaisesRegex(
      ValueError, "TF_CONFIG cluster.worker: got address .* wanted 'host:port' with"
    ):
      Cluster.from_config(config)

  @parameterized.parameters("w-0.svc:65535", "10.0.0.1:1", "[::1]:2222", "a_b:80")
  def test_addresses(self, address):
    config = _config("worker", 0, worker=[address])
    self.assertEqual(Cluster.from_config(config).workers, (address,))


class InputEnvironmentTest(absltest.TestCase):
  def _seen(self, cluster: Cluster) -> dict:
    with cluster.input_environment():
      return json.loads(os.environ["TF_CONFIG"])

  def _example_numbers(self, cluster: Cluster) -> list[int]:
    """What the tutorial's `input_fn` reads of ten examples."""
    config = self._seen(cluster)
    jobs = config["cluster"]
    count = len(jobs.get("worker", [])) + len(jobs.get("chief", []))
    data = tf.data.Dataset.range(10).shard(count, config["task"]["index"])
    return list(data.as_numpy_iterator())

  def test_every_example_is_read_by_one_worker(self):
    for jobs, tasks in (
      (dict(worker=_WORKERS, ps=_PS), [("worker", 0), ("worker", 1)]),
      (
        dict(chief=["c:1"], worker=_WORKERS, ps=_PS),
        [("chief", 0), ("worker", 0), ("worker", 1)],
      ),
    ):
      read = []
      for task in tasks:
        read += self._example_numbers(Cluster.from_config(_config(*task, **jobs)))
      self.assertEqual(sorted(read), list(range(10)))

  def test_a_process_by_itself_reads_all(self):
    for cluster in (cluster_lib.alone(), Cluster.from_config(None)):
      self.assertEqual(self._example_numbers(cluster), list(range(10)))

  def test_the_environment_is_as_before_afterwards(self):
    with mock.patch.dict(os.environ):
      os.environ.pop("TF_CONFIG", None)
      self._seen(Cluster())
      self.assertNotIn("TF_CONFIG", os.environ)
      os.environ["TF_CONFIG"] = mine = _config("worker", 1, worker=_WORKERS, ps=_PS)
      cluster = Cluster.from_environment()
      self.assertEqual(cluster.worker_index, 1)
      with self.assertRaises(KeyError), cluster.input_environment():
        raise KeyError
      self.assertEqual(os.environ["TF_CONFIG"], mine)


if __name__ == "__main__":
  absltest.main()
