"""The result of a run as text: medians, ranges and ratios."""

from __future__ import annotations

OURS = {
  "lookup": "monolith",
  "update": "monolith Adagrad",
  # Beside tables that hold no optimizer's state.
  "growth": "monolith",
}
_NO_EVIDENCE = "  DISTURBED: every leg of one of them; the figures are no evidence"
TITLES = {
  "lookup": "lookup, uniform, every id has a row",
  "update": "Adagrad update, Zipf 1.05, summing included",
}


def as_text(result: dict) -> str:
  """All tables of a result.

  Args:
    result: what table_benchmark writes as JSON.
  """
  settings, canary = result["settings"], result["canary"]
  lines = [
    f"{settings['ids']:,} ids, dim {settings['dim']}, batch {settings['batch']:,}, "
    f"{settings['threads']} threads, {settings['cores']} cores",
    f"{canary['songs']} songs of the canary: fastest {canary['fastest_seconds']:.3f}, "
    f"median {canary['median_seconds']:.3f}, "
    f"undisturbed up to {canary['longest_undisturbed_seconds']:.3f} s",
  ]
  for operation, title in TITLES.items():
    if operation in result:
      lines += ["", *_speeds(title, result[operation], OURS[operation])]
  if "growth" in result:
    lines += ["", *_memory(result["growth"]), "", *_pauses(result["growth"])]
  return "\n".join(lines)


def _extent(figure: dict[str, float], digits: int) -> str:
  return f"{figure['min']:.{digits}f} - {figure['max']:.{digits}f}"


def _undisturbed(summary: dict) -> str:
  return f"  {summary['undisturbed']} of {summary['turns']} legs"


def _warning(systems: dict[str, dict]) -> list[str]:
  quiet = all(summary["undisturbed"] for summary in systems.values())
  return [] if quiet else [_NO_EVIDENCE]


def _speeds(title: str, systems: dict[str, dict], ours: str) -> list[str]:
  lines = [
    f"{title}",
    f"  {'':22}{'M ids/s':>8}{'from - to':>17}{'ours / it':>11}  undisturbed",
  ]
  for system, summary in systems.items():
    speed = summary["million_ids_per_second"]
    ratio = systems[ours]["million_ids_per_second"]["median"] / speed["median"]
    lines.append(
      f"  {system:22}{speed['median']:8.2f}{_extent(speed, 2):>17}{ratio:11.2f}"
      f"{_undisturbed(summary)}"
    )
  return lines + _warning(systems)


def _memory(systems: dict[str, dict]) -> list[str]:
  ours = systems[OURS["growth"]]["bytes_per_id"]["median"]
  lines = [
    "growing from empty, memory: resident bytes an id, and what the table says",
    f"  {'':22}{'bytes':>8}{'from - to':>17}{'peak':>8}{'says':>8}{'it / ours':>11}"
    "  undisturbed",
  ]
  for system, summary in systems.items():
    size = summary["bytes_per_id"]
    said = summary.get("accounted_bytes_per_id")
    said = f"{said['median']:.1f}" if said else ""
    lines.append(
      f"  {system:22}{size['median']:8.1f}{_extent(size, 1):>17}"
      f"{summary['peak_bytes_per_id']['median']:8.1f}{said:>8}"
      f"{size['median'] / ours:11.2f}{_undisturbed(summary)}"
    )
  return lines + _warning(systems)


def _pauses(systems: dict[str, dict]) -> list[str]:
  ours = systems[OURS["growth"]]["million_ids_per_second"]["median"]
  lines = [
    "growing from empty, time: milliseconds a batch, the first and last ones included",
    f"  {'':22}{'median':>8}{'slowest':>9}{'from - to':>17}{'slowest / median':>18}"
    f"{'M ids/s':>9}{'ours / it':>11}  undisturbed",
  ]
  for system, summary in systems.items():
    median = summary["median_milliseconds"]["median"]
    slowest = summary["slowest_milliseconds"]
    speed = summary["million_ids_per_second"]["median"]
    lines.append(
      f"  {system:22}{median:8.1f}{slowest['median']:9.1f}{_extent(slowest, 1):>17}"
      f"{slowest['median'] / median:18.1f}{speed:9.2f}{ours / speed:11.2f}"
      f"{_undisturbed(summary)}"
    )
  return lines + _warning(systems)
