"""A parameter server that serves until it is ended, for benchmarks of what servers do.

The role comes from `TF_CONFIG`.
"""

import tensorflow as tf

from monolith.native_training.runtime.ops import loader
from monolith.native_training.training.processes.cluster import Cluster

if __name__ == "__main__":
  loader.ops()
  _cluster = Cluster.from_environment()
  tf.distribute.Server(
    _cluster.spec(), job_name=_cluster.task_type, task_index=_cluster.task_index
  ).join()
