"""The movie-ranking model with chosen initial values of its dense layers."""

from __future__ import annotations

import tensorflow as tf

from monolith.core.hyperparams import InstantiableParams
from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


class SeededMovieRanking(MovieRankingModel):
  """`MovieRankingModel`; runs with the same `dense_seed` begin alike.

  Its embeddings begin alike in any case.

  Attributes:
    loss: of the graph built last: what a hook may fetch; None before.
  """

  @classmethod
  def params(cls) -> InstantiableParams:
    p = super().params()
    p.define("dense_seed", 0, "Seed of the dense layers' initial values.")
    return p

  def __init__(self, params: InstantiableParams):
    super().__init__(params)
    self.loss: tf.Tensor | None = None

  def model_fn(self, features: dict, mode: str) -> EstimatorSpec:
    tf.keras.utils.set_random_seed(self.p.dense_seed)
    spec = super().model_fn(features, mode)
    self.loss = spec.loss
    return spec
