"""The plots of the load report, as SVG."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Runs = dict[str, Any]

NAMES = {"without": "without Redis", "with": "with Redis"}
COLOURS = {"without": "tab:orange", "with": "tab:blue"}
STYLE = {
    "backend": "svg",
    "svg.hashsalt": "shop",  # the same figures make the same file
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.figsize": (9, 3.2),
    "figure.constrained_layout.use": True,
}


def draw(runs: Runs, directory: Path) -> dict[str, Path]:
    """Write all plots, and return their files by title."""
    directory.mkdir(exist_ok=True)
    drawn = {}
    with mpl.rc_context(STYLE):
        for title, (name, plot) in PLOTS.items():
            figure = plot(runs)
            figure.supxlabel("seconds since the first answer", fontsize="medium")
            drawn[title] = directory / f"load-{name}.svg"
            figure.savefig(drawn[title], metadata={"Date": None})
            plt.close(figure)
    return drawn


def by_run(measures: dict[str, str], unit: str, runs: Runs, *, scale: str = "linear") -> Figure:
    """Draw each run by itself, with one line for each measure, in the style given."""
    figure, axes = plt.subplots(1, len(NAMES), sharey=True)
    for axis, run in zip(axes, NAMES, strict=True):
        for measure, style in measures.items():
            _line(axis, runs, run, measure, linestyle=style, label=measure.removeprefix("cores_"))
        axis.set(title=NAMES[run], yscale=scale)
        axis.yaxis.set_major_formatter("{x:g}")
    if scale == "linear":
        axes[0].set_ylim(0, None)
    axes[0].set_ylabel(unit)
    _legend(figure)
    return figure


def by_measure(measures: dict[str, str], runs: Runs) -> Figure:
    """Draw each measure by itself, under the title given, with one line for each run."""
    figure, axes = plt.subplots(1, len(measures), squeeze=False)
    for axis, (measure, title) in zip(axes[0], measures.items(), strict=True):
        for run, name in NAMES.items():
            _line(axis, runs, run, measure, label=name)
        axis.set(title=title, ylim=(0, None))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """Explain the lines once, above: as the last panel has them, which has them all."""
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))


def _line(axis: Axes, runs: Runs, run: str, measure: str, **style: str) -> None:
    series = runs[run]["series"]
    if measure in series:
        axis.plot(series["seconds"], series[measure], color=COLOURS[run], **style)


LATENCY = {"p99": ":", "p95": "--", "p50": "-"}
CORES = {"workers": "-", "postgresql": "--", "redis": "-.", "locust": ":"}
PLOTS = {
    "Response times": ("latency", partial(by_run, LATENCY, "milliseconds", scale="log")),
    "Throughput": ("throughput", partial(by_measure, {"throughput": "answers a second"})),
    "PostgreSQL": (
        "database",
        partial(
            by_measure,
            {
                "connections": "PostgreSQL: most connections at once",
                "cores_postgresql": "PostgreSQL: cores busy",
            },
        ),
    ),
    "CPU time of each part": (
        "processors",
        partial(by_run, {f"cores_{part}": style for part, style in CORES.items()}, "cores busy"),
    ),
    "Cache hit rate": (
        "hit-rate",
        partial(
            by_measure,
            {"hit_rate": "hits among answers", "document_hit_rate": "hits among documents"},
        ),
    ),
}
