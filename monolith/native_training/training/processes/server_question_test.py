from unittest import mock

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.training.processes.server_question import (
  SERVER_IS_AWAY,
  ServerQuestion,
)

_SERVERS = ["/job:ps/task:0/device:CPU:0", "/job:ps/task:1/device:CPU:0"]


class ServerQuestionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())

  @parameterized.parameters(*SERVER_IS_AWAY)
  def test_a_server_is_away_that_does_not_answer(self, kind):
    question = ServerQuestion(_SERVERS)
    error = kind(None, None, "gone")
    session = mock.Mock()
    self.assertFalse(question.is_away(session, error))
    for failure in (error, RuntimeError("Attempted to use a closed Session.")):
      session.run.side_effect = failure
      self.assertTrue(question.is_away(session, error))

  def test_each_server_is_asked(self):
    question = ServerQuestion([*_SERVERS, _SERVERS[0], "", None, "/device:CPU:0"])
    self.assertEqual([answer.device for answer in question._answers], _SERVERS)

  def test_where_there_is_none_it_is_storage(self):
    question = ServerQuestion([None, "/device:CPU:0"])
    with tf.compat.v1.Session() as session:
      for kind in SERVER_IS_AWAY:
        self.assertFalse(question.is_away(session, kind(None, None, "busy")))

  def test_for_other_errors_nobody_is_asked(self):
    session = mock.Mock()
    for error in (tf.errors.DataLossError(None, None, "truncated"), OSError("full")):
      self.assertFalse(ServerQuestion(_SERVERS).is_away(session, error))
    session.run.assert_not_called()


if __name__ == "__main__":
  absltest.main()
