"""The result of a run as a picture of bars."""

from __future__ import annotations

import matplotlib

from monolith.native_training.benchmarks.table.report import OURS, TITLES

matplotlib.use("agg")  # Needs no screen.

from matplotlib import pyplot  # noqa: E402

_OURS_COLOUR, _PEER_COLOUR = "#1f6fb4", "#b8bec6"


def write_chart(result: dict, path: str) -> None:
  """Draws one row of bars an operation, with the range of the legs at their ends.

  Args:
    result: what table_benchmark writes as JSON.
    path: the PNG file.
  """
  panels = [
    (f"{title}\nmillion ids/s", result[operation], "million_ids_per_second")
    for operation, title in TITLES.items()
    if operation in result
  ]
  if "growth" in result:
    panels += [
      ("resident bytes an id, grown from empty", result["growth"], "bytes_per_id"),
      ("slowest batch while growing, ms", result["growth"], "slowest_milliseconds"),
    ]
  figure, axes = pyplot.subplots(
    len(panels), figsize=(8, 2.4 * len(panels)), squeeze=False
  )
  for axis, (title, systems, field) in zip(axes[:, 0], panels, strict=True):
    _draw(axis, title, systems, field)
  settings = result["settings"]
  figure.suptitle(
    f"{settings['ids']:,} ids, dim {settings['dim']}, batch {settings['batch']:,}, "
    f"{settings['threads']} threads"
  )
  figure.tight_layout()
  figure.savefig(path, dpi=120, format="png")
  pyplot.close(figure)


def _draw(axis, title: str, systems: dict[str, dict], field: str) -> None:
  names = list(systems)
  values = [systems[name][field] for name in names]
  medians = [value["median"] for value in values]
  errors = [
    [value["median"] - value["min"] for value in values],
    [value["max"] - value["median"] for value in values],
  ]
  ours = set(OURS.values())
  colours = [_OURS_COLOUR if n in ours else _PEER_COLOUR for n in names]
  bars = axis.barh(names, medians, xerr=errors, color=colours, ecolor="#555555")
  axis.bar_label(bars, labels=[f"  {median:,.1f}" for median in medians], fontsize=8)
  axis.set_title(title, fontsize=9)
  axis.invert_yaxis()
  axis.margins(x=0.15)
  axis.spines[["top", "right"]].set_visible(False)
