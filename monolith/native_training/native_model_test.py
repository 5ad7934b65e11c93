import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry, feature
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

_FEATURES = ("a", "b", "c")
_IDS = np.array([[1, 2], [3, 4], [5, 6]])


class _LookupModel(MonolithModel):
  """Makes its columns, then what a test asks for."""

  columns = {}
  ask = None

  def input_fn(self, mode):
    raise NotImplementedError

  def model_fn(self, features, mode):
    for name in features:
      self.create_embedding_feature_column(name, **self.columns.get(name, {}))
    return self.ask(self)


def _build(ask, columns=None, **params):
  """The result of `ask(model)` within `model_fn`, and the embedding."""
  model = _LookupModel.params().set(**params).instantiate()
  model.columns, model.ask = columns or {}, ask
  features = {name: tf.constant(_IDS) for name in _FEATURES}
  return model.build(features, tf.estimator.ModeKeys.TRAIN)


def _values(*asks, columns=None):
  """What lookups give, all of one model."""
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    result, _ = _build(lambda model: [ask(model) for ask in asks], columns)
    return session.run(result)


class ParamsTest(absltest.TestCase):
  def test_defaults_are_the_documented_ones(self):
    p = _LookupModel.params()
    self.assertEqual((p.name, p.mode), ("_LookupModel", "train"))
    self.assertEqual((p.clip_norm, p.dense_weight_decay), (1000.0, 0.0))
    self.assertEqual(p.default_occurrence_threshold, 0)
    self.assertFalse(p.serving.export_when_saving)
    self.assertEqual(p.serving.export_dir_base, "exported_models")
    for path in ("steps", "max_steps", "save_checkpoints_steps"):
      self.assertIsNone(p.get(f"train.{path}"))
    self.assertIsNone(p.eval.steps)

  def test_a_model_may_change_its_parameters_when_it_is_made(self):
    class Tutorial(_LookupModel):
      def __init__(self, params):
        super().__init__(params)
        self.p = params
        self.p.serving.export_when_saving = True

    p = Tutorial.params()
    self.assertTrue(p.instantiate().p.serving.export_when_saving)
    self.assertFalse(p.serving.export_when_saving)

  def test_a_model_without_its_functions_is_not_made(self):
    class Unfinished(MonolithModel):
      def input_fn(self, mode):
        return None

    with self.assertRaisesRegex(TypeError, "model_fn"):
      Unfinished.params().instantiate()

  def test_exporting_without_receivers_says_what_is_missing(self):
    with self.assertRaisesRegex(NotImplementedError, "serving_input_receiver_fn"):
      _LookupModel.params().instantiate().serving_input_receiver_fn()


class LookupTest(parameterized.TestCase):
  @parameterized.parameters(
    (["c", "a"], 3, [("c", 3), ("a", 3)]),
    (("c", "a"), 3, [("c", 3), ("a", 3)]),
    ([("c", 2), ("a", 5)], None, [("c", 2), ("a", 5)]),
    ([("c", 2), "a"], 3, [("c", 2), ("a", 3)]),
    ({"b": 2, "a": 4}, None, [("b", 2), ("a", 4)]),
    ([("c", np.int64(2)), "a"], np.int32(3), [("c", 2), ("a", 3)]),
    ([], 3, []),
  )
  def test_a_list_in_the_order_asked_for(self, features, dim, wanted):
    (got,) = _values(lambda m: m.lookup_embedding_slice(features, "vec", dim))
    self.assertEqual([v.shape for v in got], [(3, d) for _, d in wanted])
    for value, (name, d) in zip(got, wanted, strict=True):
      ((same,),) = _values(
        lambda m, n=name, d=d: m.lookup_embedding_slice([n], "vec", d)
      )
      np.testing.assert_array_equal(value, same)

  def test_groups_are_joined_then_listed(self):
    apart, *groups = _values(
      lambda m: m.lookup_embedding_slice(["a", "b", "c"], "vec", 2),
      *[
        lambda m, how=how: m.lookup_embedding_slice(
          [["a", "b"], ("c", "a"), "b"], "vec", 2, group_out_type=how
        )
        for how in ("add_n", "concat", "stack")
      ],
    )
    a, b, c = apart
    add_n, concat, stack = groups
    np.testing.assert_allclose(add_n[0], a + b)
    np.testing.assert_allclose(add_n[1], c + a)
    np.testing.assert_array_equal(concat[0], np.concatenate([a, b], axis=1))
    np.testing.assert_array_equal(stack[1], np.stack([c, a], axis=1))
    for group in groups:
      np.testing.assert_array_equal(group[2], b)

  def test_out_type_makes_one_tensor(self):
    parts, add_n, concat, stack = _values(
      *[
        lambda m, how=how: m.lookup_embedding_slice(
          ["a", "b", "c"], "vec", 2, out_type=how
        )
        for how in (None, "add_n", "concat", "stack")
      ]
    )
    np.testing.assert_allclose(add_n, np.sum(parts, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(concat, np.concatenate(parts, axis=1))
    np.testing.assert_array_equal(stack, np.stack(parts, axis=1))

  def test_combiners_and_initializers(self):
    values = _values(
      lambda m: m.lookup_embedding_slice(
        ["a", "b", "c"], "vec", 2, entry.ConstantsInitializer(0.5)
      ),
      columns={"a": {"combiner": "reduce_mean"}, "b": {"max_seq_length": 3}},
    )
    mean, first, total = values[0]
    np.testing.assert_array_equal(mean, np.full([3, 2], 0.5))
    np.testing.assert_array_equal(first[:, :2], np.full([3, 2, 2], 0.5))
    np.testing.assert_array_equal(first[:, 2], np.zeros([3, 2]))
    np.testing.assert_array_equal(total, np.full([3, 2], 1.0))

  def test_a_combiner_of_ones_own(self):
    class Last(feature.Combiner):
      def combine(self, embeddings):
        return tf.gather(embeddings.values, embeddings.row_splits[1:] - 1)

    ((last, total),) = _values(
      lambda m: m.lookup_embedding_slice(["a", "b"], "vec", 2),
      columns={"a": {"combiner": Last(), "shared_name": "b"}},
    )
    self.assertEqual(last.shape, (3, 2))
    self.assertFalse(np.allclose(last, total))

  def test_features_with_one_shared_name_read_the_same_rows(self):
    ((a, b, c),) = _values(
      lambda m: m.lookup_embedding_slice(["a", "b", "c"], "vec", 2),
      columns={"a": {"shared_name": "s"}, "b": {"shared_name": "s"}},
    )
    np.testing.assert_array_equal(a, b)
    self.assertFalse(np.allclose(a, c))

  def test_slices_of_a_feature_differ(self):
    x, y = _values(
      *[lambda m, s=s: m.lookup_embedding_slice(["a"], s, 2) for s in ("x", "y")]
    )
    self.assertFalse(np.allclose(x, y))

  def test_what_the_tables_learn_with(self):
    def ask(model):
      model.lookup_embedding_slice(["a"], "plain", 2)
      model.lookup_embedding_slice(
        ["a"], "own", 1, optimizer=entry.SgdOptimizer(0.3), learning_rate_fn=0.7
      )
      model.lookup_embedding_slice(["a"], "rated", 1, optimizer=entry.SgdOptimizer(0.3))

    with tf.Graph().as_default():
      _, embedding = _build(ask)
      segments = embedding.plan.table("a").segments
    self.assertEqual(segments["plain"].optimizer, entry.AdagradOptimizer(0.05, 0.1))
    self.assertEqual(
      {n: s.learning_rate for n, s in segments.items()},
      {"plain": 0.05, "own": 0.7, "rated": 0.3},
    )

  def test_admission_has_a_default_of_the_model(self):
    with tf.Graph().as_default():
      model = _LookupModel.params().set(default_occurrence_threshold=5).instantiate()
      columns = []

      def ask(model):
        columns.append(model.create_embedding_feature_column("x"))
        columns.append(model.create_embedding_feature_column("y", 2, expire_time=7))

      model.ask = ask
      model.build({}, tf.estimator.ModeKeys.TRAIN)
    self.assertEqual([c.occurrence_threshold for c in columns], [5, 2])
    self.assertEqual([c.expire_time for c in columns], [36500, 7])


class LookupErrorTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(features=["a"]), "'a': slice_dim is missing"),
    (dict(features=[["a", "b"]]), "'a': slice_dim is missing"),
    (
      dict(features=["z"], slice_dim=2),
      r"create_embedding_feature_column\('z'\) first",
    ),
    (dict(features="abc", slice_dim=2), "features: got 'abc', wanted names"),
    (dict(features=None, slice_dim=2), "features: got None"),
    (dict(features=[3], slice_dim=2), "features: got 3, wanted a name"),
    (dict(features=[["a", 3]], slice_dim=2), r"features: got \['a', 3\]"),
    (dict(features=[[]], slice_dim=2), "features: got an empty group"),
    (dict(features=["a"], slice_dim=0), "got dim 0, wanted"),
    (dict(features={"a": "2"}), "got dim '2', wanted"),
    (dict(features={"a": 2.0}), "got dim 2.0, wanted"),
    (dict(features={"a": True}), "got dim True, wanted"),
    (dict(features=[("a", True)]), r"features: got \('a', True\)"),
    (dict(features=["a"], slice_dim=2, out_type="sum"), "out_type: got 'sum', wanted"),
    (
      dict(features=["a"], slice_dim=2, group_out_type=None),
      "group_out_type: got None, wanted",
    ),
    (
      dict(features=[], out_type="concat"),
      "features: got none, which have no out_type",
    ),
    (
      dict(features=["a"], slice_dim=2, optimizer=tf.keras.optimizers.SGD()),
      "'vec': got optimizer .*SGD.*, wanted an entry.Optimizer",
    ),
    (
      dict(features=["a"], slice_dim=2, initializer="zeros"),
      "'vec': got initializer 'zeros', wanted an entry.Initializer",
    ),
    (
      dict(features=["a"], slice_dim=2, compressor="fp16"),
      "'vec': got compressor 'fp16', wanted an entry.Compressor",
    ),
    (
      dict(features=["a"], slice_dim=2, learning_rate_fn="0.1"),
      "'vec': got learning_rate '0.1', wanted a number, 0 or more",
    ),
  )
  def test_arguments_that_do_not_fit(self, arguments, message):
    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, message):
      _build(lambda m: m.lookup_embedding_slice(slice_name="vec", **arguments))

  def test_a_slice_that_contradicts_an_earlier_one(self):
    def ask(model):
      model.lookup_embedding_slice(["a"], "vec", 2)
      model.lookup_embedding_slice(["a"], "vec", 3)

    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, "dim is 3"):
      _build(ask)

  def test_a_feature_created_twice_in_two_ways(self):
    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, "created twice"):
      _build(lambda m: m.create_embedding_feature_column("a", combiner="reduce_mean"))

  def test_columns_of_one_table_that_disagree(self):
    columns = {"a": dict(shared_name="s", expire_time=1), "b": dict(shared_name="s")}
    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, "share table 's'"):
      _build(lambda m: None, columns)

  def test_inside_a_graph_of_its_own(self):
    def look_up(model):
      return model.lookup_embedding_slice(["a"], "vec", 2, out_type="concat")

    for ask in (
      lambda m: tf.cond(
        tf.constant(True), lambda: look_up(m), lambda: tf.zeros([3, 2])
      ),
      lambda m: tf.function(lambda: look_up(m))(),
    ):
      with (
        tf.Graph().as_default(),
        self.assertRaisesRegex(
          RuntimeError, "'vec' of feature 'a' was asked for inside a tf.cond.*before"
        ),
      ):
        _build(ask)

  def test_outside_model_fn(self):
    model = _LookupModel.params().instantiate()
    for call in (
      lambda: model.create_embedding_feature_column("a"),
      lambda: model.lookup_embedding_slice(["a"], "vec", 2),
    ):
      with self.assertRaisesRegex(RuntimeError, "are called from model_fn"):
        call()

  def test_after_a_model_fn_that_failed(self):
    model = _LookupModel.params().instantiate()
    model.ask = lambda model: 1 // 0
    with tf.Graph().as_default():
      with self.assertRaises(ZeroDivisionError):
        model.build({}, tf.estimator.ModeKeys.TRAIN)
      with self.assertRaisesRegex(RuntimeError, "are called from model_fn"):
        model.create_embedding_feature_column("a")
      model.ask = lambda model: "built"
      self.assertEqual(model.build({}, tf.estimator.ModeKeys.EVAL)[0], "built")
      self.assertEqual(model.p.mode, tf.estimator.ModeKeys.EVAL)


class _HeadsModel(MonolithModel):
  """Learns y = id mod 2 and z = 3; `returns` makes of them what model_fn returns."""

  returns = None

  def input_fn(self, mode):
    ids = tf.range(64, dtype=tf.int64)
    labels = {"y": tf.cast(ids % 2, tf.float32), "z": tf.fill([64], 3.0)}
    epochs = 50 if mode == tf.estimator.ModeKeys.TRAIN else 1
    return (
      tf.data.Dataset.from_tensor_slices({"id": ids, **labels}).batch(16).repeat(epochs)
    )

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("id")
    (value,) = self.lookup_embedding_slice(
      ["id"], "v", 2, optimizer=entry.AdagradOptimizer(0.5)
    )
    y, z = tf.sigmoid(value[:, 0]), value[:, 1]
    loss = tf.reduce_mean((y - features["y"]) ** 2 + (z - features["z"]) ** 2)
    return self.returns(features, y, z, loss)


class HeadsTest(absltest.TestCase):
  def _trained(self, returns) -> Estimator:
    model = _HeadsModel.params().instantiate()
    model.returns = returns
    folder = self.create_tempdir().full_path
    conf = RunnerConfig(tf_config="", model_dir=folder)
    return Estimator(model, conf).train()

  def test_loss_label_pred(self):
    estimator = self._trained(lambda f, y, z, loss: (loss, f["y"], y))
    metrics = estimator.evaluate()
    self.assertGreater(metrics["default/auc"], 0.99)
    self.assertLess(metrics["loss"], 0.1)
    self.assertEqual((metrics["examples"], metrics["global_step"]), (64, 200))
    predictions = [float(p["default"]) for p in estimator.predict()]
    self.assertEqual([round(p) for p in predictions], [i % 2 for i in range(64)])

  def test_several_heads_in_lists(self):
    estimator = self._trained(
      lambda f, y, z, loss: EstimatorSpec(
        [f["y"], f["z"]], [y, z], ["click", "stay"], loss, classification=[True, False]
      )
    )
    metrics = estimator.evaluate()
    self.assertGreater(metrics["click/auc"], 0.99)
    self.assertLess(metrics["stay/rmse"], 0.5)
    self.assertNotIn("stay/auc", metrics)
    self.assertAlmostEqual(metrics["stay/label_mean"], 3.0, places=5)
    first = next(iter(estimator.predict()))
    self.assertEqual(first.keys(), {"click", "stay"})

  def test_several_heads_in_dicts(self):
    estimator = self._trained(
      lambda f, y, z, loss: EstimatorSpec(
        {"stay": f["z"], "click": f["y"]},
        {"click": y, "stay": z},
        loss=loss,
        classification={"click": True, "stay": False},
      )
    )
    self.assertLess(estimator.evaluate()["stay/mae"], 0.5)
    only = next(iter(estimator.predict(predict_keys="stay")))
    self.assertEqual(only.keys(), {"stay"})

  def test_what_is_no_result_is_refused(self):
    with self.assertRaisesRegex(TypeError, "model_fn returned list"):
      self._trained(lambda f, y, z, loss: [loss, f["y"], y])


if __name__ == "__main__":
  absltest.main()
