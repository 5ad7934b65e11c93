import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.training.graph import heads
from monolith.native_training.training.graph.heads import EstimatorSpec


def _tensors(count: int) -> list[tf.Tensor]:
  return [tf.constant([float(i)]) for i in range(count)]


class AsSpecTest(parameterized.TestCase):
  def test_a_spec_stays_the_same(self):
    optimizer = tf.compat.v1.train.AdagradOptimizer(0.1)
    loss = tf.constant(1.0)
    spec = EstimatorSpec(None, tf.zeros([1]), loss=loss, optimizer=optimizer)
    self.assertIs(heads.as_spec(spec), spec)

  def test_a_tuple_is_loss_label_pred(self):
    label, pred = _tensors(2)
    loss = tf.constant(1.0)
    spec = heads.as_spec((loss, label, pred))
    self.assertIs(spec.loss, loss)
    self.assertIs(spec.label, label)
    self.assertIs(spec.pred, pred)

  @parameterized.parameters(None, 3, ((1, 2),), ([1, 2, 3],))
  def test_anything_else_is_refused(self, result):
    with self.assertRaisesRegex(TypeError, "model_fn returned .* wanted an Estimator"):
      heads.as_spec(result)

  def test_a_loss_of_several_values_is_refused(self):
    spec = EstimatorSpec(None, tf.zeros([2]), loss=tf.zeros([2]))
    with self.assertRaisesRegex(ValueError, r"loss: got shape \(2,\).*reduce_mean"):
      heads.as_spec(spec)

  def test_a_loss_that_is_no_tensor_is_refused(self):
    with self.assertRaisesRegex(ValueError, "loss: got 0.5"):
      heads.as_spec(EstimatorSpec(None, tf.zeros([2]), loss=0.5))

  def test_an_optimizer_of_keras_is_refused(self):
    spec = EstimatorSpec(None, tf.zeros([2]), optimizer=tf.keras.optimizers.SGD())
    with self.assertRaisesRegex(ValueError, "optimizer: got SGD, wanted a tf.compat"):
      heads.as_spec(spec)

  @parameterized.parameters(
    ([None], [None]),
    ([None], [None, 1]),
    ([None, 1], [None]),
    ([8, 1], [8]),
    (None, [None]),
    ([None, 3], [None, 3]),
  )
  def test_labels_fit_where_there_is_one_for_every_value(self, label, pred):
    with tf.Graph().as_default():
      label, pred = (tf.compat.v1.placeholder(tf.float32, s) for s in (label, pred))
      heads.as_spec(EstimatorSpec(label, pred))

  @parameterized.parameters(
    ([None, 2], [None]), ([None, 2], [None, 3]), ([8], [4]), ([8, 1], [8, 2]), ([], [2])
  )
  def test_labels_of_another_size_are_refused(self, label, pred):
    with tf.Graph().as_default():
      label, pred = (tf.compat.v1.placeholder(tf.float32, s) for s in (label, pred))
      with self.assertRaisesRegex(
        ValueError, "head 'rank': got label of shape .* for pred of shape"
      ):
        heads.as_spec(EstimatorSpec(label, pred, "rank"))

  def test_heads_that_do_not_match_up_are_refused(self):
    with self.assertRaisesRegex(ValueError, "label: got 1 entries, wanted 2"):
      heads.as_spec(EstimatorSpec(_tensors(1), _tensors(2)))
    with self.assertRaisesRegex(ValueError, "head 'b': pred: got 'x', wanted a tensor"):
      heads.as_spec(EstimatorSpec(None, [tf.zeros([1]), "x"], ["a", "b"]))


class HeadsOfTest(parameterized.TestCase):
  def test_one_head_with_and_without_a_name(self):
    label, pred = _tensors(2)
    (head,) = heads.heads_of(EstimatorSpec(label, pred, "rank", classification=False))
    self.assertEqual((head.name, head.classification), ("rank", False))
    self.assertIs(head.label, label)
    self.assertIs(head.pred, pred)
    (head,) = heads.heads_of(EstimatorSpec(label, pred))
    self.assertEqual((head.name, head.classification), ("default", True))

  def test_lists_are_matched_by_position(self):
    labels, preds = _tensors(2), _tensors(2)
    found = heads.heads_of(
      EstimatorSpec(labels, preds, ["click", "stay"], None, None, [True, False])
    )
    self.assertEqual([h.name for h in found], ["click", "stay"])
    self.assertEqual([h.classification for h in found], [True, False])
    for head, label, pred in zip(found, labels, preds, strict=True):
      self.assertIs(head.label, label)
      self.assertIs(head.pred, pred)

  def test_dicts_are_matched_by_name(self):
    (a, b), (c, d) = _tensors(2), _tensors(2)
    spec = EstimatorSpec(
      {"stay": a, "click": b},
      {"click": c, "stay": d},
      classification={"stay": False, "click": True},
    )
    click, stay = heads.heads_of(spec)
    self.assertEqual((click.name, stay.name), ("click", "stay"))
    self.assertIs(click.label, b)
    self.assertIs(stay.pred, d)
    self.assertEqual((click.classification, stay.classification), (True, False))

  def test_lists_without_names_are_numbered(self):
    found = heads.heads_of(EstimatorSpec(_tensors(2), _tensors(2)))
    self.assertLen({h.name for h in found}, 2)

  def test_one_label_may_serve_all_heads_and_none_at_all(self):
    (label,) = _tensors(1)
    for given in (label, None):
      found = heads.heads_of(EstimatorSpec(given, _tensors(2), ["a", "b"]))
      for head in found:
        self.assertIs(head.label, given)

  @parameterized.parameters(
    (lambda t: EstimatorSpec(t[:2], t), "label: got 2 entries, wanted 3"),
    (lambda t: EstimatorSpec(t, t, ["a", "b"]), "head_name: got 2 entries, wanted 3"),
    (lambda t: EstimatorSpec(t, t, "rank"), r"head_name: got .* names that differ"),
    (
      lambda t: EstimatorSpec(t, t, ["a", "b", "a"]),
      "head_name: got .* names that differ",
    ),
    (lambda t: EstimatorSpec(t[0], t[0], ["a", "b"]), "head_name: .* wanted one name"),
    (
      lambda t: EstimatorSpec(t, t, classification=[True]),
      "classification: got 1 entries, wanted 3",
    ),
    (
      lambda t: EstimatorSpec({"a": t[0]}, {"a": t[0], "b": t[1]}),
      r"label: got heads \['a'\], wanted those of pred, \['a', 'b'\]",
    ),
    (lambda t: EstimatorSpec([], []), "pred: got no heads"),
    (lambda t: EstimatorSpec({}, {}), "pred: got no heads"),
    (lambda t: EstimatorSpec(None, None), "pred: got None"),
  )
  def test_what_does_not_match_up_is_refused(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      heads.heads_of(make(_tensors(3)))


if __name__ == "__main__":
  absltest.main()
