from absl.testing import absltest, parameterized

from monolith.native_training.local_runner import log_lines

_PYTHON = "1123 17:20:42.145242 139706958789504 ratings.py:119] "


class LogLinesTest(parameterized.TestCase):
  @parameterized.parameters(
    ("a plain line", "a plain line"),
    (f"I{_PYTHON}step 100: loss 0.5", "step 100: loss 0.5"),
    (f"W{_PYTHON}no MovieLens today", "warning: no MovieLens today"),
    (f"E{_PYTHON}broken", "error: broken"),
    ("I0000 00:00:1795455091.414989    2883 cudart_stub.cc:31] no GPU", ""),
    ("W0000 00:00:1795455091.4    28 x.cc:31] RecvTensor cancelled", ""),
    ("W0000 00:00:1795455091.4    28 x.cc:31] disk is full", None),
    ("", ""),
  )
  def test_what_is_shown(self, line, wanted):
    self.assertEqual(log_lines.shown(line), line if wanted is None else wanted)


if __name__ == "__main__":
  absltest.main()
