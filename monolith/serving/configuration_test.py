"""Flags and files that make sense, and those that do not."""

import math
import os
from unittest import mock

from absl import flags
from absl.testing import absltest, flagsaver

from monolith.serving import configuration
from monolith.serving.tls import TlsFiles
from monolith.serving.versions import version_folder

_TWO = """
model_config_list {
  config {
    name: "a" base_path: "/models/a" model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 5 } }
    version_labels { key: "stable" value: 3 }
  }
  config { name: "b" base_path: "/models/b" }
}
"""


class ConfigurationTest(absltest.TestCase):
  def test_models_of_a_file(self):
    first, second = configuration.parse_models(_TWO)
    self.assertEqual((first.name, first.base_path), ("a", "/models/a"))
    self.assertEqual(version_folder.wanted(first.policy, [1, 3, 5]), [5, 3])
    self.assertEqual(first.labels, {"stable": 3})
    self.assertEqual(version_folder.wanted(second.policy, [1, 3, 5]), [5])

  def test_files_that_name_no_models(self):
    for text, pattern in (
      ("", "no model_config_list with a model"),
      ("models {", "no ModelServerConfig: 1:1"),
      (_TWO + _TWO, "Give one model_config_list, with a config for each model"),
      ('model_config_list { config { name: "a" } }', "lacks its name or base_path"),
      (_TWO.replace('"b"', '"a"'), "a is there twice"),
      (_TWO.replace("models/b", "[b]"), r"base_path of b: got '/\[b\]', .* patterns"),
      (_TWO.replace('"tensorflow"', '"torch"'), "of a is 'torch'"),
      (_TWO.replace("versions: 3 versions: 5", ""), "of a is specific, but names no"),
    ):
      with self.subTest(pattern), self.assertRaisesRegex(ValueError, pattern):
        configuration.parse_models(text)

  def test_one_model_by_flags(self):
    for path in ("/models/m", "gs://bucket/m"):
      with flagsaver.flagsaver(model_name="m", model_base_path=path):
        (model,) = configuration.model_configs()
      self.assertEqual((model.name, model.base_path), ("m", path))

  def test_relative_paths_count_from_where_the_command_was_typed(self):
    folder = self.create_tempdir().full_path
    with open(os.path.join(folder, "two.config"), "w", encoding="utf-8") as file:
      file.write(_TWO.replace("/models/a", "models/a"))
    typed_in = {"BUILD_WORKING_DIRECTORY": folder}
    self.enter_context(mock.patch.dict(os.environ, typed_in))
    with flagsaver.flagsaver(model_base_path="models/m"):
      (model,) = configuration.model_configs()
    self.assertEqual(model.base_path, os.path.join(folder, "models/m"))
    with flagsaver.flagsaver(model_config_file="two.config"):
      first, second = configuration.model_configs()
    self.assertEqual(first.base_path, os.path.join(folder, "models/a"))
    self.assertEqual(second.base_path, "/models/b")
    with flagsaver.flagsaver(
      tls_certificate="c", tls_key="../k", tls_client_authority="a"
    ):
      files = configuration.tls_files()
    paths = (os.path.join(folder, name) for name in ("c", "../k", "a"))
    self.assertEqual(files, TlsFiles(*map(os.path.normpath, paths)))

  def test_flags_that_name_no_models(self):
    for values in ({}, {"model_base_path": "/a", "model_config_file": "/b"}):
      with flagsaver.flagsaver(**values):
        with self.assertRaisesRegex(ValueError, "either --model_base_path or"):
          configuration.model_configs()
    with flagsaver.flagsaver(model_base_path="/a", model_name=""):
      with self.assertRaisesRegex(ValueError, "--model_name is empty"):
        configuration.model_configs()
    with flagsaver.flagsaver(model_base_path="/run[1]"):
      with self.assertRaisesRegex(ValueError, "--model_base_path: got .* patterns"):
        configuration.model_configs()
    with flagsaver.flagsaver(model_config_file="/no/file"):
      with self.assertRaisesRegex(OSError, "--model_config_file=/no/file cannot"):
        configuration.model_configs()
    binary = self.create_tempfile(content=b"\x7fELF\xff", mode="wb").full_path
    with flagsaver.flagsaver(model_config_file=binary):
      pattern = f"--model_config_file: {binary} is no text"
      with self.assertRaisesRegex(ValueError, pattern):
        configuration.model_configs()

  def test_times_are_finite(self):
    for name in ("shutdown_grace_seconds", "file_system_poll_wait_seconds"):
      for value in (math.nan, math.inf):
        with self.assertRaisesRegex(flags.Error, f"{name}.*must be a finite number"):
          with flagsaver.flagsaver(**{name: value}):
            pass

  def test_certificates(self):
    self.assertIsNone(configuration.tls_files())
    with flagsaver.flagsaver(tls_certificate="/c", tls_key="/k"):
      self.assertEqual(configuration.tls_files(), TlsFiles("/c", "/k", ""))
    with flagsaver.flagsaver(tls_key="k"):
      with self.assertRaisesRegex(ValueError, "give both or none"):
        configuration.tls_files()
    with flagsaver.flagsaver(tls_client_authority="a"):
      with self.assertRaisesRegex(ValueError, "needs --tls_certificate"):
        configuration.tls_files()


if __name__ == "__main__":
  absltest.main()
