"""What is left of a download of Kafka's jars that ends midway."""

import os
import pathlib
import subprocess
import sys
import time
from unittest import mock

from absl.testing import absltest

from monolith.native_training.local_broker import kafka_jars
from monolith.native_training.local_runner.processes_naming import processes_naming

# Has something by now, and gets no more.
_STUCK = """#!/bin/sh
for argument; do
  case "$argument" in -DoutputDirectory=*) folder="${argument#*=}" ;; esac
done
echo half > "$folder/kafka.jar"
exec tail -f "$folder/kafka.jar"
"""
_FAILING = """#!/bin/sh
echo no route to the repository
exit 3
"""


class KafkaJarsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._cache = self.create_tempdir().full_path
    self._programs = self.create_tempdir().full_path
    self.enter_context(
      mock.patch.dict(
        os.environ,
        {
          "XDG_CACHE_HOME": self._cache,
          "PATH": f"{self._programs}:{os.environ['PATH']}",
        },
      )
    )

  def _maven_is(self, program: str) -> None:
    path = pathlib.Path(self._programs, "mvn")
    path.write_text(program)
    path.chmod(0o755)

  def _scratch(self) -> list[pathlib.Path]:
    """Folders of downloads that have begun."""
    folders = pathlib.Path(self._cache, "monolith").glob("kafka-*.*/")
    return [folder for folder in folders if (folder / "kafka.jar").exists()]

  def _maven(self, folder: pathlib.Path) -> list[str]:
    return processes_naming(str(folder))

  def test_a_folder_with_a_colon_is_refused(self):
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": f"{self._cache}/a:b"}):
      with self.assertRaisesRegex(kafka_jars.JarsMissing, "a:b/.*takes a colon for"):
        kafka_jars.ensure()
    self.assertEmpty(os.listdir(self._cache))

  def test_a_download_that_is_stuck_can_be_ended(self):
    self._maven_is(_STUCK)
    begun = []

    def check() -> None:
      begun.extend(self._scratch())
      if begun and self._maven(begun[0]):
        raise InterruptedError

    with self.assertRaises(InterruptedError):
      kafka_jars.ensure(check)
    self.assertEmpty(self._maven(begun[0]))
    self.assertEmpty(self._scratch())

  def test_whoever_waits_for_the_download_of_another_can_be_ended(self):
    self._maven_is(_STUCK)

    def check() -> None:
      if self._scratch():
        with self.assertRaises(InterruptedError):
          kafka_jars.ensure(mock.Mock(side_effect=InterruptedError))
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      kafka_jars.ensure(check)

  def test_a_kill_leaves_no_download_and_its_files_go_with_the_next(self):
    self._maven_is(_STUCK)
    program = (
      "from monolith.native_training.local_broker import kafka_jars; "
      "kafka_jars.ensure()"
    )
    killed = subprocess.Popen(
      [sys.executable, "-c", program],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while not (begun := self._scratch()) or not self._maven(begun[0]):
      time.sleep(0.05)
    killed.kill()
    killed.wait()
    while self._maven(begun[0]):
      time.sleep(0.05)
    self._maven_is(_FAILING)
    with self.assertRaisesRegex(kafka_jars.JarsMissing, "no route to the repository"):
      kafka_jars.ensure()
    self.assertEmpty(self._scratch())


if __name__ == "__main__":
  absltest.main()
