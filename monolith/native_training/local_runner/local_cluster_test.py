import json
import os
import socket
import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.local_runner import local_cluster


class FreePortsTest(absltest.TestCase):
  def test_ports_are_different_and_can_be_bound(self):
    ports = local_cluster.free_ports(50)
    self.assertLen(set(ports), 50)
    for port in ports:
      with socket.socket() as s:
        s.bind(("127.0.0.1", port))

  def test_a_port_in_use_is_left_out(self):
    with socket.socket() as s:
      s.bind(("127.0.0.1", 0))
      s.listen()
      used = s.getsockname()[1]
      with (
        absltest.mock.patch.object(local_cluster, "_PORTS", range(used, used + 1)),
        self.assertRaisesRegex(OSError, "only 0 of 1 ports are free"),
      ):
        local_cluster.free_ports(1)


class LocalClusterTest(absltest.TestCase):
  def test_tasks(self):
    tasks = local_cluster.local_cluster(num_ps=1, num_workers=2)
    self.assertEqual([task.name for task in tasks], ["ps 0", "worker 0", "worker 1"])
    configs = [json.loads(task.tf_config) for task in tasks]
    self.assertEqual(
      [config["task"] for config in configs],
      [
        {"type": "ps", "index": 0},
        {"type": "worker", "index": 0},
        {"type": "worker", "index": 1},
      ],
    )
    cluster = configs[0]["cluster"]
    self.assertEqual([config["cluster"] for config in configs], [cluster] * 3)
    self.assertEqual(
      {role: len(a) for role, a in cluster.items()}, {"ps": 1, "worker": 2}
    )
    self.assertLen({*cluster["ps"], *cluster["worker"]}, 3)

  def test_one_process(self):
    (task,) = local_cluster.local_cluster(num_ps=0, num_workers=1)
    self.assertEqual(list(json.loads(task.tf_config)["cluster"]), ["worker"])

  def test_clusters_that_cannot_work(self):
    for num_ps, num_workers, message in (
      (0, 2, "2 workers need at least one parameter server"),
      (2, 0, "got 2 servers and 0 workers"),
      (-1, 1, "got -1 servers"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        local_cluster.local_cluster(num_ps, num_workers)


class PythonEnvironmentTest(absltest.TestCase):
  def test_another_python_finds_the_same_modules(self):
    output = subprocess.check_output(
      [sys.executable, "-m", local_cluster.__name__],
      env=local_cluster.python_environment(),
      cwd=self.create_tempdir().full_path,
    )
    self.assertEqual(output, b"")

  def test_variables(self):
    environment = local_cluster.python_environment(
      {"TF_CONFIG": "x", "no_grpc_proxy": "a.b", "HOME": "/h"}
    )
    self.assertNotIn("TF_CONFIG", environment)
    self.assertEqual(environment["HOME"], "/h")
    self.assertEqual(environment["no_grpc_proxy"], "a.b,127.0.0.1")
    self.assertNotIn("", environment["PYTHONPATH"].split(os.pathsep))


if __name__ == "__main__":
  absltest.main()
