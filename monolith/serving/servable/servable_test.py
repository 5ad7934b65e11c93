"""A loaded version answers as the Estimator does, and frees what it holds."""

import collections
import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from tensorflow_serving.apis import prediction_log_pb2

from monolith.serving.errors import Code, ServingError
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.warm_up import batch_sizes, warm_up
from monolith.serving.testing.exported_model import (
  ITEMS,
  USERS,
  ExportedModel,
  ManyUsers,
  bytes_of_tables,
)


def _resident_bytes() -> int:
  with open("/proc/self/statm", encoding="ascii") as file:
    return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class ServableTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = ExportedModel(os.path.join(absltest.TEST_TMPDIR.value, "model"))
    cls.version = cls.model.train_and_export()
    cls.path = os.path.join(cls.model.base_path, str(cls.version))

  def setUp(self):
    super().setUp()
    self.servable = Servable("two_heads", self.version, self.path)
    self.addCleanup(self.servable.close)
    self.signature = self.servable.signature("")

  def test_predictions_equal_the_estimators(self):
    outputs = self.servable.run(self.signature, {"user": USERS, "item": ITEMS})
    expected = self.model.predict()
    self.assertCountEqual(outputs, expected)
    for head in expected:
      np.testing.assert_array_equal(outputs[head], expected[head])

  def test_rows_do_not_depend_on_their_batch(self):
    outputs = self.servable.run(self.signature, {"user": USERS, "item": ITEMS})
    # To the last bits only: the number of rows and the processor decide in which order
    # TensorFlow adds up a product.
    for size in (1, 2, 3, 17):
      part = {"user": USERS[:size], "item": ITEMS[:size]}
      score = self.servable.run(self.signature, part)["score"]
      whole = outputs["score"][:size]
      np.testing.assert_allclose(score, whole, rtol=1e-5, atol=1e-7)

  def test_an_unknown_signature_is_named(self):
    with self.assertRaisesRegex(ServingError, '"other" not found') as caught:
      self.servable.signature("other")
    self.assertEqual(caught.exception.code, Code.FAILED_PRECONDITION)

  def test_errors_of_tensorflow_keep_their_code(self):
    feeds = {"user": USERS, "item": ITEMS[:3]}
    with self.assertRaises(ServingError) as caught:
      self.servable.run(self.signature, feeds)
    self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

  def test_a_string_without_dimensions_is_an_array(self):
    path = os.path.join(self.create_tempdir().full_path, "1")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      x = tf.compat.v1.placeholder(tf.string, [None], "x")
      joined = tf.strings.reduce_join(x)
      tf.compat.v1.saved_model.simple_save(session, path, {"x": x}, {"y": joined})
    servable = Servable("joiner", 1, path)
    self.addCleanup(servable.close)
    feeds = {"x": np.array([b"a", b"b\0"], object)}
    y = servable.run(servable.signature(""), feeds)["y"]
    self.assertEqual((y.shape, y.dtype, y.item()), ((), np.dtype(object), b"ab\0"))

  def test_a_signature_of_handles_leaves_the_others_served(self):
    path = os.path.join(self.create_tempdir().full_path, "1")
    builder = tf.compat.v1.saved_model.Builder(path)
    definitions = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      for dtype in (tf.float32, tf.resource, tf.variant):
        x = tf.compat.v1.placeholder(dtype, [None])
        definitions[dtype.name] = tf.compat.v1.saved_model.predict_signature_def(
          {"x": x}, {"y": tf.identity(x)}
        )
      builder.add_meta_graph_and_variables(
        session, [tf.saved_model.SERVING], definitions
      )
      builder.save()
    servable = Servable("handles", 1, path)
    self.addCleanup(servable.close)
    warm_up(servable, [1, 4])
    self.assertCountEqual(servable.signatures, ["float32"])
    for name in ("resource", "variant"):
      with self.assertRaisesRegex(ServingError, f'"{name}" is not served: .*variant'):
        servable.signature(name)

  def test_what_cannot_be_loaded_raises(self):
    with self.assertRaises((OSError, tf.errors.OpError)):
      Servable("two_heads", 1, self.create_tempdir().full_path)

  def test_the_memory_of_large_tables_is_given_back(self):
    model = ExportedModel(self.create_tempdir().full_path, ManyUsers)
    version = model.train_and_export()
    path = os.path.join(model.base_path, str(version))
    size = bytes_of_tables(path)
    self.assertGreater(size, 16_000_000)
    resident = []
    for _ in range(3):
      servable = Servable("large", version, path)
      feeds = {"user": USERS, "item": ITEMS}
      self.assertGreater(
        np.ptp(servable.run(servable.signature(""), feeds)["score"]), 0
      )
      loaded = _resident_bytes()
      servable.close()
      resident.append(_resident_bytes())
      self.assertGreater(loaded - resident[-1], 0.9 * size)
    self.assertLess(resident[-1] - resident[0], 0.1 * size)

  def test_warm_up_runs_zeros_and_what_was_recorded(self):
    warm_up(self.servable, [1, 4])
    log = prediction_log_pb2.PredictionLog()
    inputs = log.predict_log.request.inputs
    inputs["user"].CopyFrom(tf.make_tensor_proto(USERS))
    folder = os.path.join(self.path, "assets.extra")
    os.mkdir(folder)
    file = os.path.join(folder, "tf_serving_warmup_requests")
    with tf.io.TFRecordWriter(file) as writer:
      writer.write(log.SerializeToString())
    self.addCleanup(os.rmdir, folder)
    self.addCleanup(os.remove, file)
    with self.assertRaisesRegex(ServingError, "Missing but required: {item}"):
      warm_up(self.servable, [])

  def test_warm_up_takes_little_memory_however_large_batches_may_be(self):
    self.assertEqual(batch_sizes(500_000_000), [1, 2, 64, 1024])
    self.assertEqual(batch_sizes(100), [1, 2, 64, 100])
    self.assertEqual(batch_sizes(1), [1, 2])
    self.assertEqual(batch_sizes(None), [1, 2, 64])

  def test_warm_up_runs_no_more_than_requests_may_have(self):
    sizes = collections.defaultdict(list)

    def run(signature, feeds):
      sizes[signature.name].append(len(next(iter(feeds.values()))))

    with mock.patch.object(self.servable, "run", side_effect=run):
      warm_up(self.servable, [1, 2, 64, 1024], max_bytes=100 * 16)
    # Two ids are 16 bytes.
    self.assertEqual(sizes["serving_default"], [1, 2, 64, 100, 3])

  def test_warm_up_does_without_zeros_that_memory_lacks_room_for(self):
    with (
      mock.patch.object(np, "zeros", side_effect=MemoryError("3.73 GiB")),
      self.assertLogs("absl", "INFO") as logs,
    ):
      warm_up(self.servable, [4])
    self.assertIn("serving_default does not take 4 zeros: 3.73 GiB", str(logs.output))


if __name__ == "__main__":
  absltest.main()
