import json

from absl.testing import absltest, parameterized

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan


def _column(name: str, table: str | None = None, **settings) -> feature.FeatureColumn:
  defaults = dict(
    combiner=feature.ReduceSum(), occurrence_threshold=0, expire_time=36500
  )
  return feature.FeatureColumn(name=name, table=table or name, **defaults | settings)


def _segment(name: str = "vec", dim: int = 4, **settings) -> plan.Segment:
  defaults = dict(
    initializer=entry.DEFAULT_INITIALIZER,
    optimizer=entry.DEFAULT_OPTIMIZER,
    compressor=entry.DEFAULT_COMPRESSOR,
    learning_rate=0.05,
  )
  return plan.Segment(name=name, dim=dim, **defaults | settings)


class EmbeddingPlanTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.plan = plan.EmbeddingPlan()

  def _tables(self) -> dict[str, dict]:
    return {t["name"]: t for t in json.loads(self.plan.config())["tables"]}

  def test_slices_of_a_feature_lie_side_by_side_in_its_rows(self):
    self.plan.add_feature(_column("item"))
    self.plan.add_output("item", _segment("bias", 1))
    self.plan.add_output("item", _segment("vec", 32))
    self.plan.add_output("item", _segment("deep", 8))
    table = self.plan.table("item")
    self.assertEqual(table.dim, 41)
    self.assertEqual([table.offset(s) for s in ("bias", "vec", "deep")], [0, 1, 33])
    segments = self._tables()["item"]["segments"]
    self.assertEqual(
      [(s["name"], s["dim"]) for s in segments], [("bias", 1), ("vec", 32), ("deep", 8)]
    )

  def test_config_has_all_that_the_core_needs(self):
    self.plan.add_feature(_column("item", occurrence_threshold=2, expire_time=30))
    self.plan.add_output(
      "item",
      _segment(
        initializer=entry.ConstantsInitializer(0.5), optimizer=entry.SgdOptimizer(0.1)
      ),
    )
    (segment,) = self._tables()["item"].pop("segments")
    seed = segment.pop("seed")
    self.assertBetween(seed, 0, 2**63 - 1)
    self.assertEqual(
      segment,
      {
        "name": "vec",
        "dim": 4,
        "initializer": {"type": "constants", "constant": 0.5},
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "compressor": {"type": "fp16"},
      },
    )
    table = self._tables()["item"]
    self.assertEqual((table["occurrence_threshold"], table["expire_time"]), (2, 30.0))

  def test_a_seed_depends_on_table_and_slice_only(self):
    def seeds(names):
      one = plan.EmbeddingPlan()
      for table, segment in names:
        one.add_feature(_column(table))
        one.add_output(table, _segment(segment))
      return {
        (t["name"], s["name"]): s["seed"]
        for t in json.loads(one.config())["tables"]
        for s in t["segments"]
      }

    names = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("ab", "y"), ("a", "by")]
    first = seeds(names)
    self.assertLen(set(first.values()), len(names))
    self.assertEqual(seeds(reversed(names)), first)

  def test_features_that_share_a_table_share_its_slices(self):
    self.plan.add_feature(_column("clicked", "item"))
    self.plan.add_feature(_column("bought", "item"))
    outputs = [self.plan.add_output(name, _segment()) for name in ("clicked", "bought")]
    self.assertEqual(outputs, [0, 1])
    self.assertEqual(self._tables().keys(), {"item"})
    self.assertEqual(self.plan.table("item").dim, 4)

  def test_the_same_slice_of_a_feature_is_one_output(self):
    self.plan.add_feature(_column("item"))
    self.plan.add_feature(_column("user"))
    asked = [("item", "vec"), ("user", "vec"), ("item", "vec"), ("item", "bias")]
    indices = [self.plan.add_output(f, _segment(s)) for f, s in asked]
    self.assertEqual(indices, [0, 1, 0, 2])

  def test_what_is_not_read_is_not_looked_up(self):
    for name in ("item", "user", "page"):
      self.plan.add_feature(_column(name))
    self.plan.add_output("page", _segment())
    self.plan.add_output("item", _segment())
    self.assertEqual([c.name for c in self.plan.used_features], ["item", "page"])
    self.assertEqual([t.name for t in self.plan.tables], ["item", "page"])
    self.assertEqual(self._tables().keys(), {"item", "page"})

  def test_declaring_a_feature_again_in_the_same_way_is_allowed(self):
    self.plan.add_feature(_column("item"))
    self.plan.add_feature(_column("item"))
    self.assertLen(self.plan.features, 1)

  def test_declaring_a_feature_in_another_way_is_refused(self):
    self.plan.add_feature(_column("item"))
    with self.assertRaisesRegex(ValueError, "'item' was created twice.*ReduceMean"):
      self.plan.add_feature(_column("item", combiner=feature.ReduceMean()))

  @parameterized.parameters(("occurrence_threshold", 3, 0), ("expire_time", 7, 36500))
  def test_features_of_a_table_must_agree(self, setting, value, first):
    self.plan.add_feature(_column("clicked", "item"))
    with self.assertRaisesRegex(
      ValueError, f"'bought': {setting} is {value}, .* share table 'item' use {first}"
    ):
      self.plan.add_feature(_column("bought", "item", **{setting: value}))

  @parameterized.parameters(
    {"dim": 8},
    {"initializer": entry.ZerosInitializer()},
    {"optimizer": entry.SgdOptimizer()},
    {"compressor": entry.Fp32Compressor()},
    {"learning_rate": 0.1},
  )
  def test_a_slice_must_be_the_same_each_time(self, **changes):
    (name,) = changes
    self.plan.add_feature(_column("clicked", "item"))
    self.plan.add_feature(_column("bought", "item"))
    self.plan.add_output("clicked", _segment())
    before = self.plan.config()
    with self.assertRaisesRegex(ValueError, f"'vec' of table 'item': {name} is"):
      self.plan.add_output("bought", _segment(**changes))
    self.assertEqual(self.plan.config(), before)

  def test_a_feature_must_be_declared_first(self):
    self.plan.add_feature(_column("user"))
    with self.assertRaisesRegex(
      ValueError, r"create_embedding_feature_column\('item'\) first \(known: user\)"
    ):
      self.plan.add_output("item", _segment())

  def test_the_slices_of_a_table_have_a_largest_width(self):
    self.plan.add_feature(_column("item"))
    self.plan.add_output("item", _segment(dim=65535))
    self.plan.add_output("item", _segment("bias", dim=1))
    with self.assertRaisesRegex(ValueError, "'more' of table 'item': got dim 1 beside"):
      self.plan.add_output("item", _segment("more", dim=1))

  @parameterized.parameters(0, -1, 2.0, "4", True)
  def test_a_slice_must_have_a_width(self, dim):
    self.plan.add_feature(_column("item"))
    with self.assertRaisesRegex(ValueError, f"'vec' of feature 'item': .* dim .*{dim}"):
      self.plan.add_output("item", _segment(dim=dim))

  def test_who_needs_the_global_step(self):
    self.plan.add_feature(_column("item"))
    self.plan.add_output("item", _segment("plain"))
    self.assertFalse(self.plan.needs_global_step())
    self.plan.add_output("item", _segment("rate", learning_rate=lambda step: 0.1))
    self.assertTrue(self.plan.needs_global_step())
    other = plan.EmbeddingPlan()
    other.add_feature(_column("item"))
    warm_up = entry.AdagradOptimizer(warmup_steps=10)
    other.add_output("item", _segment(optimizer=warm_up))
    self.assertTrue(other.needs_global_step())


if __name__ == "__main__":
  absltest.main()
