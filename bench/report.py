"""The generated parts of docs/performance.md, from the files of results alone."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from . import figures
from .contenders import BEFORE
from .document import replace_section
from .figures import (
    Configuration,
    cpu,
    quartiles,
    rate,
    redis_cpu,
    results_table,
    round_trips,
    servers,
    summary,
)

if TYPE_CHECKING:
    from pathlib import Path

AMOUNTS = ("rounds", "seconds", "connections")
COLOURS = {
    "edge": "#0b5394",
    "edge, no access log": "#6fa8dc",
    "flask": "#38761d",
    "bare": "#7f7f7f",
    "bare, on a loop": "#000000",
    "flask documented": "#93c47d",
    "fastapi documented": "#f6b26b",
    "fastapi by hand": "#cc4125",
    "fastapi by hand, plain uvicorn": "#e6b8af",
}


def write(results: dict[str, Any], document: Path) -> None:
    """Write the section `bench`, and its plots beside the document.

    Of all but the first configuration it has the CPU times alone: the plots have the rates.
    """
    results = published(results)
    places = document.with_suffix("")
    places.mkdir(exist_ok=True)
    parts = [caption(results)]
    for number, configuration in enumerate(figures.configurations(results)):
        plot = places / f"{configuration.products}-products-{configuration.workers}-workers.svg"
        draw(configuration, plot)
        picture = f"![Requests a second, and CPU time of a request]({places.name}/{plot.name})"
        shown = [cpu_times(configuration)] if number else [samples_tables(configuration)]
        remarks = [figures.noise_remark(configuration), figures.targets(configuration)]
        parts += [f"### {configuration}", picture, *shown, *filter(None, remarks)]
    replace_section(document, "bench", "\n\n".join(parts))


def write_servers(results: dict[str, Any], document: Path) -> None:
    """Write the section `servers`."""
    results = published(results)
    [configuration] = figures.configurations(results)
    replace_section(document, "servers", f"{caption(results)}\n\n{servers(configuration)}")


def write_redis(results: dict[str, Any], document: Path) -> None:
    """Write the section `redis`."""
    results = published(results)
    [configuration] = figures.configurations(results)
    found = results_table(configuration, redis_cpu, digits=1)
    replace_section(document, "redis", f"{caption(results)}\n\n{found}")


def published(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results without another checkout: a run prints those, a document is of one."""
    samples = [one for one in results["samples"] if one["contender"] != BEFORE]
    return results | {"samples": samples}


def tables(configuration: Configuration) -> str:
    """Return all that is to be read of a configuration."""
    ratios = "How many times as good `edge` is, with the quartiles of the rounds:"
    return "\n\n".join([samples_tables(configuration), ratios, summary(configuration)])


def samples_tables(configuration: Configuration) -> str:
    return "\n\n".join(
        [
            "Requests a second:",
            results_table(configuration, rate),
            cpu_times(configuration),
            "Round trips to Redis of a request:",
            results_table(configuration, round_trips, digits=1),
        ]
    )


def cpu_times(configuration: Configuration) -> str:
    title = "CPU time of a request in microseconds, of the server + of Redis:"
    return f"{title}\n\n{results_table(configuration, cpu, redis=True)}"


def caption(results: dict[str, Any]) -> str:
    machine, parameters = results["machine"], results["parameters"]
    versions = "; ".join(
        f"`{name}`: " + ", ".join(f"{package} {version}" for package, version in found.items())
        for name, found in machine["packages"].items()
    )
    amounts = [f"{value} {what}" for what, value in parameters.items() if what in AMOUNTS]
    return (
        f"Measured on {results['date']}, on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['kernel']}, Python {machine['python']}: {', '.join(amounts)}; seconds are those "
        f"of each figure of each round.\n{versions}."
    )


def draw(configuration: Configuration, path: Path) -> None:
    """Draw both figures of a configuration; the same samples make the same file."""
    # It is in .venv-bench alone, and measuring needs none of it.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    plt.rcParams.update({"svg.hashsalt": "shop", "svg.fonttype": "none", "font.size": 9})
    drawing, panels = plt.subplots(2, 1, figsize=(9, 6.5), layout="constrained")
    for axes, figure, title in (
        (panels[0], rate, "requests a second (more is better)"),
        (panels[1], cpu, "CPU time of a request, µs (less is better)"),
    ):
        _bars(axes, configuration, figure)
        axes.set_title(title, loc="left")
    panels[0].legend(*_legend(panels[0]), ncols=4, loc="upper right", fontsize=8)
    drawing.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(drawing)


def _bars(axes: Any, configuration: Configuration, figure: Any) -> None:
    width = 0.85 / len(configuration.contenders)
    for place, name in enumerate(one for one in COLOURS if one in configuration.contenders):
        for position, rung in enumerate(configuration.rungs):
            if values := configuration.values(figure, rung, name):
                left, middle = position + (place + 0.5) * width - 0.425, median(values)
                low, high = quartiles(values)
                axes.bar(left, middle, width, color=COLOURS[name], label=name)
                axes.vlines(left, low, high, color="black", lw=0.7)
    axes.set_xticks(range(len(configuration.rungs)), configuration.rungs)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01, y=0.2)


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Return one entry for each contender."""
    entries = {
        label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    return list(entries.values()), list(entries)
