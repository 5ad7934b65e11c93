"""The result of a run as text: medians, ranges and ratios."""

from __future__ import annotations

OURS = {"lookup": "monolith", "update": "monolith Adagrad"}
TITLES = {
  "lookup": "lookup, uniform, every id has a row",
  "update": "Adagrad update, Zipf 1.05, summing included",
}


def as_text(result: dict) -> str:
  """All tables of a result.

  Args:
    result: what table_benchmark writes as JSON.
  """
  settings = result["settings"]
  lines = [
    f"{settings['ids']:,} ids, dim {settings['dim']}, batch {settings['batch']:,}, "
    f"{settings['threads']} threads, {settings['cores']} cores"
  ]
  for operation, title in TITLES.items():
    if operation in result:
      lines += ["", *_speeds(title, result[operation], OURS[operation])]
  if "growth" in result:
    lines += ["", *_growth(result["growth"])]
  return "\n".join(lines)


def _speeds(title: str, systems: dict[str, dict], ours: str) -> list[str]:
  lines = [
    f"{title}",
    f"  {'':22}{'M ids/s':>8}{'from - to':>17}{'ours / it':>11}  undisturbed",
  ]
  for system, summary in systems.items():
    speed = summary["million_ids_per_second"]
    extent = f"{speed['min']:.2f} - {speed['max']:.2f}"
    ratio = systems[ours]["million_ids_per_second"]["median"] / speed["median"]
    lines.append(
      f"  {system:22}{speed['median']:8.2f}{extent:>17}{ratio:11.2f}"
      f"  {summary['undisturbed']} of {summary['turns']} legs"
    )
  if not all(summary["undisturbed"] for summary in systems.values()):
    lines.append("  DISTURBED: every leg of one of them; the figures are no evidence")
  return lines


def _growth(systems: dict[str, dict]) -> list[str]:
  lines = [
    "growing from empty: resident bytes an id, and milliseconds a batch",
    f"  {'':22}{'bytes':>8}{'peak':>8}{'accounted':>11}{'median':>9}{'slowest':>9}"
    f"{'ratio':>7}  undisturbed",
  ]
  for system, summary in systems.items():
    median = summary["median_milliseconds"]["median"]
    slowest = summary["slowest_milliseconds"]["median"]
    accounted = summary.get("accounted_bytes_per_id")
    accounted = f"{accounted['median']:.1f}" if accounted else ""
    lines.append(
      f"  {system:22}{summary['bytes_per_id']['median']:8.1f}"
      f"{summary['peak_bytes_per_id']['median']:8.1f}{accounted:>11}"
      f"{median:9.2f}{slowest:9.2f}{slowest / median:7.1f}"
      f"  {summary['undisturbed']} of {summary['turns']} legs"
    )
  return lines
