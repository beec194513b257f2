"""Percentiles and ratios of what was measured, as Markdown tables."""

from __future__ import annotations

from math import ceil
from operator import sub
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.figures import cpu, per_cpu_second, quartiles, redis_cpu, table

from .draw import SORTS
from .far import TIMES
from .hits import AGAINST
from .questions import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Samples = Sequence[dict[str, Any]]

AS_CHEAP = 0.9  # of its plain page a found one has to be at least: what the noise leaves of 1
USED = ("postgresql", "service")  # whose CPU time is told


def percentile(values: Iterable[float], part: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[ceil(part * len(ordered)) - 1]


def cold(samples: Samples) -> str:
    """Return how long answers take that nothing has cached, in milliseconds."""
    rows = []
    for kind in KINDS:
        own = [one for one in samples if one["kind"] == kind.name]
        times = [value for one in own for value in one["milliseconds"]]
        waits = [value for one in own for value in one["waited"]]
        alone = percentile(map(sub, times, waits), 0.95)
        shown = [percentile(times, part) for part in (0.5, 0.95, 0.99)]
        shown += [1000 * sum(one["cpu"][name] for one in own) / len(times) for name in USED]
        missed = kind.most and alone > kind.most
        target = f"**{alone:.1f}**" if missed else f"{alone:.1f}"
        target += f"/{kind.most}" if kind.most else ""
        rows.append([kind.name, *(f"{value:.1f}" for value in shown), target])
    head = ["", "p50", "p95", "p99", "CPU of PostgreSQL", "CPU of the service"]
    return table([*head, "p95 alone/at most"], rows)


def far(samples: Samples) -> str:
    """Return how long page 5,000 takes in milliseconds, and against page 1."""
    rows = []
    for sort in (*SORTS, None):
        pairs = [one for one in samples if sort in {one["sort"], None}]
        first, last = (median(one[name] for one in pairs) for name in ("first", "far"))
        low, high = quartiles([one["far"] / one["first"] for one in pairs])
        rows.append(
            [
                f"`{sort}`" if sort else "all of them",
                *(f"{first:.1f}", f"{last:.1f}"),
                f"{last / first:.2f} ({low:.2f} to {high:.2f})",
                *(f"{TIMES:g}", _reached(last / first <= TIMES)),
            ]
        )
    page = f"page {min(one['page'] for one in samples):,}"
    return table(["sort", "page 1", page, "times as long", "at most", "reached"], rows)


def hits(samples: Samples) -> str:
    """Return the CPU time of cached answers in microseconds, and against plain ones."""
    rows = []
    for kind, other in AGAINST.items():
        own, plain = (
            sorted((one for one in samples if one["kind"] == name), key=lambda one: one["round"])
            for name in (kind, other)
        )
        size = median(one["bytes"] / one["requests"] for one in own)
        figures = [median(map(figure, own)) for figure in (cpu, redis_cpu)]
        row = [kind, *(f"{value:,.0f}" for value in (size, *figures))]
        if kind != other:
            ratios = [
                per_cpu_second(one) / per_cpu_second(another)
                for one, another in zip(own, plain, strict=True)
            ]
            low, high = quartiles(ratios)
            middle = median(ratios)
            row += [f"{middle:.2f} ({low:.2f} to {high:.2f}) of {other}"]
            row += [f"{AS_CHEAP:g}", _reached(middle >= AS_CHEAP)]
        rows.append(row + [""] * (7 - len(row)))
    head = ["", "bytes", "CPU of the service", "CPU of Redis", "times as cheap as", "at least"]
    return table([*head, "reached"], rows)


def _reached(is_reached: bool) -> str:  # noqa: FBT001  (it is what it is about)
    return "yes" if is_reached else "**no**"
