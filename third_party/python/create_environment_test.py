"""Makes environments with one tiny local package, and damages them."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zipfile

from absl.testing import absltest

from third_party.python import create_environment


def _write_wheel(folder: pathlib.Path) -> pathlib.Path:
  """Writes the package `tiny`, which is one module."""
  wheel = folder / "tiny-1.0-py3-none-any.whl"
  info = "tiny-1.0.dist-info"
  with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("tiny.py", "VALUE = 7\n")
    archive.writestr(
      f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0"
    )
    archive.writestr(
      f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
    )
    archive.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n")
  return wheel


class CreateEnvironmentTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    self._root = self._folder / "cache"
    wheel = _write_wheel(self._folder)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    self._locks = [self._folder / "build.txt", self._folder / "main.txt"]
    self._locks[0].write_text("# No build tools.\n")
    self._locks[1].write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(self._folder))):
      self.enter_context(absltest.mock.patch.dict(os.environ, {name: value}))

  def _ensure(self) -> dict[str, str]:
    return create_environment.ensure_environment(self._root, self._locks)

  def _assert_usable(self, environment: dict[str, str]) -> None:
    code = "import tiny; print(tiny.VALUE)"
    out = subprocess.check_output([environment["python"], "-I", "-c", code])
    self.assertEqual(out.decode().strip(), "7")

  def test_is_made_once_by_builds_that_start_together_and_repaired(self):
    make = create_environment._make
    with absltest.mock.patch.object(
      create_environment, "_make", side_effect=make
    ) as counted:
      with concurrent.futures.ThreadPoolExecutor() as pool:
        builds = [pool.submit(self._ensure) for _ in range(3)]
      self.assertEqual(counted.call_count, 1)
      for build in builds:
        self._assert_usable(build.result())

      environment = self._ensure()
      self.assertEqual(counted.call_count, 1)

      (pathlib.Path(environment["site_packages"]) / "tiny.py").unlink()
      self._assert_usable(self._ensure())
      self.assertEqual(counted.call_count, 2)

  def test_tells_what_is_wrong(self):
    folder = self._folder / "environment"
    self.assertIn("does not exist", create_environment.fault(folder))
    (folder / "bin").mkdir(parents=True)
    self.assertIn("interrupted", create_environment.fault(folder))

    packages = folder / "packages"
    info = packages / "tiny-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "monolith-complete.json").write_text(
      json.dumps({"site_packages": str(packages)})
    )
    self.assertIn("does not run", create_environment.fault(folder))
    (folder / "bin" / "python3").symlink_to(sys.executable)
    self.assertIn("no packages", create_environment.fault(folder))

    (info / "RECORD").write_text("tiny.py,sha256=x,10\nother.py,,\n")
    self.assertIn("tiny.py is missing", create_environment.fault(folder))
    (packages / "tiny.py").write_text("VALUE = 7")
    self.assertIn("9 bytes instead of 10", create_environment.fault(folder))
    (packages / "tiny.py").write_text("VALUE = 7\n")
    self.assertIn("other.py is missing", create_environment.fault(folder))
    (packages / "other.py").touch()
    self.assertIsNone(create_environment.fault(folder))

  def test_refuses_a_package_with_another_hash(self):
    lock = self._locks[1]
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    with self.assertRaisesRegex(
      create_environment.EnvironmentCreationError, "DO NOT MATCH THE HASHES"
    ):
      self._ensure()

  def test_another_lock_is_another_environment(self):
    before = create_environment.environment_key(self._locks)
    with open(self._locks[1], "a") as file:
      file.write("# Changed.\n")
    self.assertNotEqual(create_environment.environment_key(self._locks), before)


if __name__ == "__main__":
  absltest.main()
