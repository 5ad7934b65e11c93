import io
import os
import threading

from absl.testing import absltest

from monolith.native_training.local_runner import console


class _Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


class ConsoleTest(absltest.TestCase):
  def test_a_file_gets_plain_lines(self):
    stream = io.StringIO()
    out = console.Console(stream)
    out.line("hello", "worker 0")
    out.line("all")
    self.assertEqual(stream.getvalue(), "[worker 0] hello\nall\n")

  def test_a_file_gets_the_status_now_and_then(self):
    stream = io.StringIO()
    with absltest.mock.patch.object(console.time, "monotonic") as now:
      now.return_value = 100.0
      out = console.Console(stream)
      for seconds in range(100, 125):
        now.return_value = float(seconds)
        out.status(f"at {seconds}")
      out.end_status()
    self.assertEqual(stream.getvalue(), "at 110\nat 120\n")

  def test_a_terminal_keeps_the_status_below_the_lines(self):
    stream = _Terminal()
    with absltest.mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
      out = console.Console(stream)
    out.status("50 %")
    out.line("hello", "ps 1")
    out.end_status()
    out.line("bye")
    erase = "\r\x1b[K"
    self.assertEqual(
      stream.getvalue(),
      f"{erase}50 %{erase}[ps 1] hello\n50 %{erase}50 %\n{erase}bye\n",
    )

  def test_names_are_coloured_on_a_terminal(self):
    stream = _Terminal()
    with absltest.mock.patch.dict(os.environ):
      os.environ.pop("NO_COLOR", None)
      out = console.Console(stream)
    for name in ("a", "b", "a"):
      out.line("x", name)
    first, second, third = stream.getvalue().rstrip("\n").split("\n")
    self.assertEqual(first, third)
    self.assertRegex(first, "\x1b\\[\\d+m\\[a\\]\x1b\\[0m x")
    self.assertNotEqual(first.replace("[a]", "[b]"), second)

  def test_lines_of_threads_stay_whole(self):
    stream = io.StringIO()
    out = console.Console(stream)
    threads = [
      threading.Thread(target=lambda n=n: [out.line("x" * 50, n) for _ in range(200)])
      for n in "abcd"
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    lines = stream.getvalue().splitlines()
    self.assertEqual({line[3:] for line in lines}, {" " + "x" * 50})
    self.assertLen(lines, 800)


if __name__ == "__main__":
  absltest.main()
