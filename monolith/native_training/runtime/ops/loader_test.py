import os
import threading

import tensorflow as tf

from monolith.native_training.runtime.ops import loader


class LoaderTest(tf.test.TestCase):
  def _folder(self, version):
    folder = self.create_tempdir().full_path
    with open(os.path.join(folder, "_monolith_ops.so"), "w", encoding="utf-8") as f:
      f.write("not a library")
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

  def test_other_version_is_named(self):
    message = f"built for TensorFlow 1.2.3, running {tf.__version__}"
    with self.assertRaisesRegex(ImportError, message):
      loader.load(self._folder("1.2.3\n"))

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
