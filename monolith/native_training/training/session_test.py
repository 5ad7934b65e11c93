from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.session import ReadySessionCreator


class SessionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())
    tf.compat.v1.train.get_or_create_global_step()
    self._calls = mock.Mock()

  def _create(self, *checkpoints: str) -> list[str]:
    """Creates a session; what was called, in order."""
    creator = ReadySessionCreator(
      Cluster(),
      "",
      self._calls.checkpointer,
      lambda: list(checkpoints),
      on_begin=self._calls.on_begin,
      before_begin=self._calls.before_begin,
    )
    creator.create_session().close()
    return [call[0] for call in self._calls.mock_calls]

  def test_what_was_before_is_over_before_a_model_is_restored(self):
    restore = ["before_begin", "checkpointer.restore", "on_begin"]
    self.assertEqual(self._create("model.ckpt-1"), restore)

  def test_what_was_before_is_over_before_a_model_is_initialized(self):
    clear = ["before_begin", "checkpointer.clear_tables", "on_begin"]
    self.assertEqual(self._create(), clear)


if __name__ == "__main__":
  absltest.main()
