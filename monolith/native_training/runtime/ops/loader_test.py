import os
import pathlib
import threading

import tensorflow as tf

from monolith.native_training.runtime.ops import loader

_GARBAGE = b"not a library"


def _real_library() -> bytes:
  folder = os.path.dirname(loader.__file__)
  return pathlib.Path(folder, "_monolith_ops.so").read_bytes()


class LoaderTest(tf.test.TestCase):
  def _folder(self, version, library=_GARBAGE):
    folder = self.create_tempdir().full_path
    pathlib.Path(folder, "_monolith_ops.so").write_bytes(library)
    if version is not None:
      path = os.path.join(folder, "built_for_tensorflow.txt")
      with open(path, "w", encoding="utf-8") as f:
        f.write(version)
    return folder

  def test_all_threads_get_the_same_ops(self):
    found = []
    threads = [
      threading.Thread(target=lambda: found.append(loader.ops())) for _ in range(4)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertLen(found, 4)
    self.assertLen({id(ops) for ops in found}, 1)
    self.assertTrue(callable(found[0].monolith_lookup))

  def test_library_names_the_running_tensorflow(self):
    folder = os.path.dirname(loader.__file__)
    with open(
      os.path.join(folder, "built_for_tensorflow.txt"), encoding="utf-8"
    ) as file:
      self.assertEqual(file.read().strip(), tf.__version__)

  def test_a_good_library_for_another_version_is_not_loaded(self):
    message = f"built for TensorFlow 1.2.3, running {tf.__version__}"
    with self.assertRaisesRegex(ImportError, message):
      loader.load(self._folder("1.2.3\n", _real_library()))

  def test_a_library_that_needs_what_this_version_lacks(self):
    symbol, missing = b"OpKernelContext", b"OpKernelContexx"
    library = _real_library()
    self.assertIn(symbol, library)
    library = library.replace(symbol, missing)
    patch = f"{tf.__version__}0"
    with self.assertRaisesRegex(
      ImportError, f"built for TensorFlow {patch}, running .*undefined symbol"
    ):
      loader.load(self._folder(patch, library))
    with self.assertRaisesRegex(ImportError, "cannot load Monolith's ops.*undefined"):
      loader.load(self._folder(tf.__version__, library))

  def test_broken_library_of_this_version(self):
    with self.assertRaisesRegex(ImportError, "cannot load Monolith's ops"):
      loader.load(self._folder(tf.__version__))
    with self.assertRaisesRegex(ImportError, "cannot load Monolith's ops"):
      loader.load(self._folder(None))

  def test_missing_library(self):
    with self.assertRaisesRegex(ImportError, "Monolith's ops are missing"):
      loader.load(self.create_tempdir().full_path)


if __name__ == "__main__":
  tf.test.main()
