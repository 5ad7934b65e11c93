"""Trains `PlainMovieRanking`, as TensorFlow's own classes do it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith.native_training.benchmarks import plain_model
from monolith.native_training.benchmarks.numbered_ratings import NumberedRatings
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.session import session_config

_POLL_SECONDS = 0.2


def train_role(
  cluster: Cluster,
  ratings: NumberedRatings,
  hooks: Sequence[tf.compat.v1.train.SessionRunHook] = (),
) -> None:
  """Plays one role of a job: worker (the first one is chief) or parameter server.

  Variables are spread by `replica_device_setter`. Neither checkpoints nor summaries
  are written. A server returns when all workers are done.

  Args:
    cluster: the job, and the role of this process.
    ratings: what to train on, until they end or a hook stops the session.
    hooks: called around each step.
  """
  target, device = "", None
  if cluster.is_distributed:
    target = tf.distribute.Server(
      cluster.spec(), job_name=cluster.task_type, task_index=cluster.task_index
    ).target
    device = tf.compat.v1.train.replica_device_setter(
      worker_device=cluster.worker_device, cluster=cluster.spec()
    )
  with tf.Graph().as_default():
    if cluster.task_type == "ps":
      _serve(cluster, target)
      return
    with tf.compat.v1.device(device):
      loss, train, step = _training_graph(ratings, cluster)
      tell_servers = [_done_queue(ps).enqueue(1) for ps in _servers(cluster)]
    config = session_config(cluster)
    if not cluster.is_chief:
      _wait_for_chief(target, config)
    with tf.compat.v1.train.MonitoredTrainingSession(
      target,
      is_chief=cluster.is_chief,
      hooks=list(hooks),
      config=config,
      log_step_count_steps=None,
    ) as session:
      _run_until_end(session, {"train": train, "step": step, "loss": loss})
    if tell_servers:
      with tf.compat.v1.Session(target, config=config) as session:
        session.run(tell_servers)


def train_and_test(ratings: NumberedRatings, dense_seed: int) -> float:
  """Trains in this process and returns the root mean squared error on the test split.

  Args:
    ratings: what to train and to test on.
    dense_seed: of the initial values.
  """
  with tf.Graph().as_default():
    tf.keras.utils.set_random_seed(dense_seed)
    model = _model(ratings)
    loss = model.loss(_next_batch(ratings.training_batches()))
    train = plain_model.train_op(loss)
    test = _next_batch(ratings.held_out_batches())
    errors = tf.square(model.predict(test) - test["label"])
    initialize = [
      tf.compat.v1.global_variables_initializer(),
      tf.compat.v1.tables_initializer(),
    ]
    with tf.compat.v1.Session() as session:
      session.run(initialize)
      _until_end(session, train)
      tested = _until_end(session, errors)
  return float(np.sqrt(np.mean(np.concatenate(tested))))


def _model(ratings: NumberedRatings) -> plain_model.PlainMovieRanking:
  return plain_model.PlainMovieRanking(ratings.num_users, ratings.num_movies)


def _training_graph(ratings: NumberedRatings, cluster: Cluster):
  step = tf.compat.v1.train.get_or_create_global_step()
  batches = ratings.training_batches(cluster.num_workers, cluster.worker_index)
  loss = _model(ratings).loss(_next_batch(batches))
  return loss, plain_model.train_op(loss), step


def _next_batch(batches: tf.data.Dataset) -> dict[str, tf.Tensor]:
  iterator = tf.compat.v1.data.make_initializable_iterator(batches)
  tf.compat.v1.add_to_collection(
    tf.compat.v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer
  )
  return iterator.get_next()


def _run_until_end(session, fetches) -> None:
  try:
    while not session.should_stop():
      session.run(fetches)
  except tf.errors.OutOfRangeError:
    pass


def _until_end(session: tf.compat.v1.Session, fetch) -> list:
  results = []
  try:
    while True:
      results.append(session.run(fetch))
  except tf.errors.OutOfRangeError:
    return results


def _wait_for_chief(target: str, config: tf.compat.v1.ConfigProto) -> None:
  """MonitoredTrainingSession would look again after half a minute only."""
  uninitialized = tf.compat.v1.report_uninitialized_variables()
  with tf.compat.v1.Session(target, config=config) as session:
    while session.run(uninitialized).size:
      time.sleep(_POLL_SECONDS)


def _servers(cluster: Cluster) -> list[str]:
  return [f"/job:ps/task:{i}" for i in range(len(cluster.ps))]


def _done_queue(server: str) -> tf.queue.FIFOQueue:
  with tf.device(server):
    return tf.queue.FIFOQueue(64, [tf.int32], [[]], shared_name="done")


def _serve(cluster: Cluster, target: str) -> None:
  done = _done_queue(_servers(cluster)[cluster.task_index]).size()
  config = tf.compat.v1.ConfigProto(device_filters=[cluster.worker_device])
  with tf.compat.v1.Session(target, config=config) as session:
    while session.run(done) < cluster.num_workers:
      time.sleep(_POLL_SECONDS)
