"""That the tutorial's BUILD file is what is built here, and its program."""

import pathlib
import re

from absl.testing import absltest

import monolith

_HERE = pathlib.Path(__file__).parent
_MONOLITH = pathlib.Path(monolith.__file__).parent
_README = _MONOLITH / "native_training" / "movie_ranking" / "README.md"


class ReadmeTest(absltest.TestCase):
  def test_the_build_file_is_the_page_s(self):
    (page,) = re.findall(r"```\n(load\(.*?)```", _README.read_text(), re.DOTALL)
    load, target = page.replace('"//', '"@org_monolith//').split("\n\n")
    build = (_HERE / "BUILD").read_text()
    self.assertIn(f"\n{load}\n", build)
    self.assertIn(f"\n{target}", build)

  def test_the_program_is_the_page_s(self):
    (page,) = re.findall(r"```python\n(.*?)```", _README.read_text(), re.DOTALL)
    self.assertEqual((_HERE / "clicks.py").read_text(), page)


if __name__ == "__main__":
  absltest.main()
