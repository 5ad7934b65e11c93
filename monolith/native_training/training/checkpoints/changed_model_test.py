"""A checkpoint meets a model that is no longer the one that saved it."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
from absl.testing import absltest

from monolith.native_training.runtime.ops import testing
from monolith.native_training.training.checkpoints import checkpoint, checkpoint_errors
from monolith.native_training.training.checkpoints.small_tables import (
  DEFAULT_TABLES,
  THRESHOLD,
  SmallTables,
)

_ADAM = {"type": "adam"}
_IDS = list(range(-20, 20))
_INITIAL_STATE = float(np.float32(0.1))  # Adagrad's.


def _table(name: str, *segments, **settings):
  return {"name": name, "segments": list(segments), **settings}


_VEC = testing.segment(3, "vec", optimizer=testing.ADAGRAD)
_BIAS = testing.segment(1, "bias")
_MOV = _table("mov", _VEC, _BIAS)
_UID = _table("uid", testing.segment(2, "vec", optimizer=testing.ADAGRAD))


@contextlib.contextmanager
def _captured_log() -> Iterator[list[str]]:
  """What the process, C++ too, writes to stderr meanwhile."""
  sys.stderr.flush()
  log = []
  with tempfile.TemporaryFile("w+") as file:
    stderr = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
      yield log
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
      file.seek(0)
      log.append(file.read())


class ChangedModelTest(absltest.TestCase):
  """The checkpoint is from two servers and made from another."""

  def setUp(self):
    super().setUp()
    folder = self.create_tempdir().full_path
    variables = {"kept": [1.0, 2.0], "lost": [3.0], "resized": [4.0, 5.0]}
    with SmallTables(2, [_MOV, _UID], variables, max_increments=1) as tables:
      tables.train(1000, mov=_IDS, uid=_IDS)
      tables.save(folder, 1)
      tables.train(2000, mov=_IDS[:5], uid=_IDS[:5])
      tables.erase(mov=_IDS[3:8])
      self._path = tables.save(folder, 2)
      self._rows = tables.rows()
    self.assertLen(checkpoint.chain(self._path), 2)

  def _restored(self, *tables, variables=("kept",), how="restore", servers=2):
    """Rows, variables and the log of a model with the checkpoint."""
    first = {name: [0.0, 0.0] for name in variables}
    with SmallTables(servers, tables, first) as model, _captured_log() as log:
      getattr(model, how)(self._path)
      rows, values = model.rows(), model.variables()
      # It goes on, and saves what is as long as all of it.
      model.train(3000, **{table["name"]: [1, 99] for table in tables})
      path = model.save(self.create_tempdir().full_path, 3)
      self.assertEqual(checkpoint.chain(path), [path])
      wanted = model.rows()
      model.restore(path)
      self.assertEqual(model.rows(), wanted)
    return rows, values, log[0]

  def test_a_table_that_is_lost_and_one_that_is_gained(self):
    new = _table("new", testing.segment(2, "vec"))
    with self.assertLogs("absl", "WARNING") as logs:
      rows, values, _ = self._restored(new, _MOV)
    self.assertEqual(rows, {"new": {}, "mov": self._rows["mov"]})
    self.assertEqual(values, {"kept": [4.0, 8.0]})
    self.assertRegex(
      "".join(logs.output), f"table new begins empty: {self._path} does not have it"
    )
    # The increment has five of them again.
    self.assertRegex(
      "".join(logs.output),
      f"{self._path}: up to {len(_IDS) + 5} rows are left out, of tables that are not "
      "in the model: uid",
    )

  def test_who_only_predicts_is_refused_what_lacks_a_table(self):
    new = _table("new", testing.segment(2, "vec"))
    with SmallTables(1, [new, _MOV], {"kept": [0.0, 0.0]}, for_training=False) as model:
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        f"{self._path} cannot be restored: it has no table new, of the features new",
      ):
        model.restore(self._path)

  def test_a_model_that_has_lost_all_tables(self):
    first = {"kept": [0.0, 0.0]}
    with SmallTables(1, [], first) as model:
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        r"has rows of mov, uid, up to \d+, but the model has no tables",
      ):
        model.restore(self._path)
      self.assertEqual(model.variables(), first)
      model.warm_start(self._path)
      self.assertEqual(model.variables(), {"kept": [4.0, 8.0]})
    with SmallTables(1, [], first, for_training=False) as model:
      model.restore(self._path)
      self.assertEqual(model.variables(), {"kept": [4.0, 8.0]})

  def test_a_model_that_had_no_tables_goes_back_to_empty_ones(self):
    folder = self.create_tempdir().full_path
    with SmallTables(1, [], {"kept": [1.0, 2.0]}) as model:
      path = model.save(folder, 1)
    with SmallTables(2, [_MOV], {"kept": [0.0, 0.0]}) as model:
      model.train(1000, mov=_IDS)
      with self.assertLogs("absl", "WARNING"):
        model.restore(path)
      self.assertEqual(model.rows(), {"mov": {}})
    # Nothing is lost of tables without rows.
    with SmallTables(1, [_MOV]) as model:
      path = model.save(folder, 2)
    with SmallTables(1, []) as model:
      model.restore(path)

  def test_a_slice_that_is_lost_and_one_that_is_gained(self):
    gained = testing.segment(2, "more", value=0.5, optimizer=testing.ADAGRAD)
    rows, _, log = self._restored(_table("mov", gained, _VEC), _UID)
    self.assertRegex(
      log,
      "segment more of table mov has dim 2 in the model, but is not in the file: it "
      "begins with initial values",
    )
    self.assertRegex(log, "segment bias of table mov is not in the model: .* left out")
    self.assertNotIn("vec", log)
    self.assertEqual(rows["uid"], self._rows["uid"])
    wanted = {
      i: ([0.5, 0.5, *row[:3]], [_INITIAL_STATE] * 2 + state, time)
      for i, (row, state, time) in self._rows["mov"].items()
    }
    self.assertEqual(rows["mov"], wanted)

  def test_another_optimizer_drops_its_state_and_the_log_says_so(self):
    adam = testing.segment(3, "vec", optimizer=_ADAM)
    rows, _, log = self._restored(_table("mov", adam, _BIAS), _UID)
    self.assertRegex(
      log,
      "segment vec of table mov was trained with adagrad, now with adam: its optimizer "
      "state starts anew",
    )
    self.assertNotIn("bias", log)
    self.assertNotIn("uid", log)
    self.assertEqual(rows["uid"], self._rows["uid"])
    self.assertEqual(rows["mov"].keys(), self._rows["mov"].keys())
    states = {tuple(state) for _, state, _ in rows["mov"].values()}
    self.assertLen(states, 1)
    for i, (row, _, time) in self._rows["mov"].items():
      self.assertEqual(rows["mov"][i][0::2], (row, time))

  def test_other_settings_of_the_same_optimizer_keep_its_state(self):
    optimizer = {"type": "adagrad", "learning_rate": 0.7}
    vec = testing.segment(3, "vec", optimizer=optimizer, value=1.0)
    rows, _, log = self._restored(_table("mov", vec, _BIAS, expire_time=3.0), _UID)
    self.assertEqual(rows, self._rows)
    self.assertNotIn("anew", log)

  def test_another_wrapped_optimizer_drops_the_state_of_the_one_before(self):
    def table(inner):
      wrapper = {"type": "stochastic_rounding_float16", "optimizer": {"type": inner}}
      return _table("mov", testing.segment(3, "vec", optimizer=wrapper))

    folder = self.create_tempdir().full_path
    for step, (before, now) in enumerate(
      [
        ("momentum", "adagrad"),  # What it would be read as is no state of Adagrad.
        ("adagrad", "rmsprop"),  # As many floats, and each is one of the other's too.
        ("adagrad", "adagrad"),
      ]
    ):
      with SmallTables(1, [table(before)]) as model:
        for time in range(3):
          model.train(time, mov=_IDS)
        path = model.save(folder, step)
        trained = model.rows()["mov"]
      with SmallTables(1, [table(now)]) as model, _captured_log() as log:
        model.restore(path)
        rows = model.rows()["mov"]
      if before == now:
        self.assertNotIn("anew", log[0])
        self.assertEqual(rows, trained)
        continue
      self.assertRegex(
        log[0],
        rf"vec of table mov was trained with stochastic_rounding_float16\({before}\), "
        rf"now with stochastic_rounding_float16\({now}\): its optimizer state starts",
      )
      self.assertLen({tuple(state) for _, state, _ in rows.values()}, 1)
      for i, (row, _, time) in trained.items():
        self.assertEqual(rows[i][0::2], (row, time))

  def test_another_dim_is_refused_by_name_and_nothing_lost(self):
    wide = _table("mov", testing.segment(4, "vec", optimizer=testing.ADAGRAD), _BIAS)
    with SmallTables(1, [_UID, wide], {"kept": [7.0, 7.0]}) as model:
      model.train(1, uid=[5], mov=[6])
      before = model.rows(), model.variables()
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        f"{self._path} cannot be restored: .*segment vec of table mov has dim 3 in the "
        "file, but 4 in the model",
      ):
        model.restore(self._path)
      self.assertEqual((model.rows(), model.variables()), before)

  def test_variables_that_do_not_fit_begin_anew_aloud(self):
    first = {"gained": [7.0], "kept": [0.0, 0.0], "resized": [9.0, 9.0, 9.0]}
    with SmallTables(2, [_MOV, _UID], first) as model:
      with self.assertLogs("absl", "WARNING") as logs:
        model.restore(self._path)
      self.assertEqual(model.variables(), {**first, "kept": [4.0, 8.0]})
      self.assertEqual(model.rows(), self._rows)
    self.assertRegex(
      logs.output[0],
      r"BEGIN ANEW.* variable gained, of shape \(1,\), is not there; "
      r"variable resized has shape \[2\] there and \(3,\) in the model",
    )

  def test_who_predicts_is_refused_variables_that_do_not_fit(self):
    with SmallTables(1, [_MOV, _UID], {"gained": [0.0]}, for_training=False) as model:
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError, "variable gained, of shape .* is not there"
      ):
        model.restore(self._path)

  def test_who_predicts_is_refused_a_slice_that_is_gained(self):
    mov = _table("mov", _VEC, testing.segment(2, "more", value=0.5))
    with SmallTables(1, [_UID, mov], {"kept": [7.0, 7.0]}, for_training=False) as model:
      model.train(1, uid=[5], mov=[6])
      before = model.rows(), model.variables()
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        f"{self._path} cannot be restored: .*segment more of table mov has dim 2 in "
        "the model, but is not in the file",
      ):
        model.restore(self._path)
      self.assertEqual((model.rows(), model.variables()), before)

  def test_who_predicts_needs_no_slice_or_table_that_is_lost(self):
    mov = _table("mov", _BIAS)
    first = {"kept": [0.0, 0.0]}
    with SmallTables(2, [mov], first, for_training=False) as model:
      with self.assertNoLogs("absl", "WARNING"):
        model.restore(self._path)
      wanted = {i: (row[3:], [], t) for i, (row, _, t) in self._rows["mov"].items()}
      self.assertEqual(model.rows(), {"mov": wanted})

  def test_a_warm_start_takes_what_matches(self):
    wide = testing.segment(4, "vec", value=0.25, optimizer=testing.ADAGRAD)
    new = _table("new", testing.segment(2, "vec"))
    for servers in (1, 3):
      rows, _, log = self._restored(
        _table("mov", wide, _BIAS), new, how="warm_start", servers=servers
      )
      self.assertRegex(log, "segment vec of table mov has dim 3 .* initial values")
      wanted = {
        i: ([0.25] * 4 + row[3:], [_INITIAL_STATE] * 4, time)
        for i, (row, _, time) in self._rows["mov"].items()
      }
      self.assertEqual(rows, {"mov": wanted, "new": {}})

  def test_a_warm_start_takes_no_rows_of_which_it_takes_no_slice(self):
    others = (
      (testing.segment(4, "vec"), "vec of table mov has dim 3 in the file, but 4 in"),
      (testing.segment(3, "new"), "new of table mov has dim 3 in the model, but is"),
    )
    for segment, message in others:
      rows, _, log = self._restored(_table("mov", segment), _UID, how="warm_start")
      self.assertRegex(log, f"table mov begins empty: segment {message}")
      self.assertEqual(rows, {"mov": {}, "uid": self._rows["uid"]})

  def test_a_warm_start_counts_on_no_ids_of_which_it_takes_no_slice(self):
    folder = self.create_tempdir().full_path
    with SmallTables() as model:
      for _ in range(THRESHOLD - 1):
        model.train(1000, uid=_IDS)
      path = model.save(folder, 1)
    (uid,) = (table for table in DEFAULT_TABLES if table["name"] == "uid")
    for dim, wanted in ((2, set(_IDS)), (4, set())):
      with SmallTables(
        1, [{**uid, "segments": [testing.segment(dim, "vec")]}]
      ) as model:
        model.warm_start(path)
        model.train(2000, uid=_IDS)
        self.assertEqual(set(model.rows()["uid"]), wanted)

  def test_a_warm_start_takes_variables_of_the_same_name_and_shape(self):
    first = {"kept": [0.0, 0.0], "resized": [9.0], "gained": [8.0]}
    with SmallTables(1, [_MOV], first) as model:
      model.warm_start(self._path)
      self.assertEqual(model.variables(), {**first, "kept": [4.0, 8.0]})

  def test_a_warm_start_from_damaged_files_is_refused(self):
    (file, *_) = checkpoint.table_files(self._path)
    with open(file, "r+b") as f:
      f.truncate(os.path.getsize(file) - 1)
    with SmallTables(1, [_MOV]) as model:
      with self.assertRaisesRegex(ValueError, file):
        model.warm_start(self._path)

  def test_a_warm_start_from_a_model_with_nothing_in_common(self):
    new = _table("new", testing.segment(2, "vec"))
    with SmallTables(1, [new], {"gained": [8.0]}) as model:
      model.warm_start(self._path)
      self.assertEqual(
        (model.rows(), model.variables()), ({"new": {}}, {"gained": [8]})
      )
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError, "got rows of mov, uid, wanted some of new"
      ):
        model.restore(self._path)


if __name__ == "__main__":
  absltest.main()
