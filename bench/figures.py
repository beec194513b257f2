"""Medians, spreads and ratios of what was measured, as Markdown tables."""

from __future__ import annotations

import json
from collections import defaultdict
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from . import BenchError
from .contenders import BARE_LOOP, BEFORE, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    Sample = dict[str, Any]

NOISE = 0.15  # of the bare function's median; from there on a run says that it is noisy
BY_HAND, PLAIN = "fastapi by hand", "fastapi by hand, plain uvicorn"
RIVALS = (BEFORE, BARE_LOOP, "bare", BY_HAND, PLAIN, "flask documented", "fastapi documented")
NONE = "\N{EN DASH}"  # who takes no part
PRODUCT, SILENT, REFERENCE = "edge", "edge, no access log", BARE_LOOP


class Target(NamedTuple):
    """The product's rung against another rung of another, at least so many times as cheap."""

    rung: str
    other: tuple[str, str]  # rung, contender
    least: float

    def __str__(self) -> str:
        rung, name = self.other
        against = f"`{name}`" if name != PRODUCT else f"its own {rung}"
        return f"{self.rung}: at least {self.least:g} of {against}"


TARGETS = (
    Target("item", ("item", BEFORE), 2.5),
    Target("item", ("item", BARE_LOOP), 0.4),
    Target("item", ("item", BY_HAND), 1.3),
    Target("item", ("item", PLAIN), 2),
    Target("item", ("item", "flask documented"), 8),
    Target("page100", ("item", PRODUCT), 0.8),
    Target("page100", ("page100", BY_HAND), 1.5),
    Target("304", ("item", PRODUCT), 1),
    Target("429", ("item", PRODUCT), 1),
    Target("miss", ("miss", BY_HAND), 0.6),
    Target("write", ("write", BY_HAND), 0.4),
)


def rate(sample: Sample) -> float:
    """Requests in a second."""
    return float(sample["requests"] / sample["seconds"])


def cpu(sample: Sample) -> float:
    """CPU time of the server for a request, in microseconds."""
    return float(1e6 * sample["cpu"] / sample["requests"])


def redis_cpu(sample: Sample) -> float:
    """CPU time of Redis for a request, in microseconds."""
    return float(1e6 * sample["redis_cpu"] / sample["requests"])


def round_trips(sample: Sample) -> float:
    """Calls of Redis for a request, those of scripts within it not counted."""
    return float(sample["round_trips"] / sample["requests"])


def p50(sample: Sample) -> float:
    """The median of response times, in milliseconds."""
    return float(sample["p50"])


def p99(sample: Sample) -> float:
    """The 99th percentile of response times, in milliseconds."""
    return float(sample["p99"])


def per_cpu_second(sample: Sample) -> float:
    """Requests in a second of the server's CPU time."""
    return float(sample["requests"] / sample["cpu"])


# Columns of `servers`, with their digits after the point.
SERVED = {"requests/s": (rate, 0), "CPU, µs": (cpu, 0), "p50, ms": (p50, 1), "p99, ms": (p99, 1)}


class Configuration:
    """The samples of one catalogue's size and one number of workers."""

    def __init__(self, products: int, workers: int, samples: Iterable[Sample]) -> None:
        self.products, self.workers = products, workers
        self._samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for one in samples:
            if (one["products"], one["workers"]) == (products, workers):
                self._samples[one["rung"], one["contender"]].append(one)
        self.rungs = list(dict.fromkeys(rung for rung, _ in self._samples))
        self.contenders = list(dict.fromkeys(sorted(name for _, name in self._samples)))

    def __str__(self) -> str:
        return in_words(self.products, self.workers)

    def values(self, figure: Callable[[Sample], float], rung: str, name: str) -> list[float]:
        """Return a figure by round; empty for who takes no part."""
        return [figure(one) for one in self._samples.get((rung, name), ())]

    def ratios(
        self,
        figure: Callable[[Sample], float],
        rung: str,
        other: tuple[str, str],
        product: str = PRODUCT,
    ) -> list[float]:
        """Return the product's figure over the other's, each of the same round."""
        own, others = self.values(figure, rung, product), self.values(figure, *other)
        return [one / another for one, another in zip(own, others, strict=False)]

    def noise(self) -> float:
        """Return the largest spread of the bare function, as a part of its median."""
        found = (self.values(rate, rung, REFERENCE) for rung in self.rungs)
        return max((_between(values) / median(values) for values in found if values), default=0)


def read(path: Path) -> dict[str, Any]:
    """Return a file of results. Raises BenchError if there is none."""
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path.name} cannot be read: {error}") from None
    return results


def configurations(results: dict[str, Any]) -> list[Configuration]:
    samples = results["samples"]
    kinds = dict.fromkeys((one["products"], one["workers"]) for one in samples)
    return [Configuration(*kind, samples) for kind in kinds]


def summary(configuration: Configuration) -> str:
    """Return the ratios and the targets of a configuration."""
    parts = [noise_remark(configuration), _ratios(configuration), targets(configuration)]
    return "\n\n".join(part for part in parts if part)


def noise_remark(configuration: Configuration) -> str:
    noise = configuration.noise()
    if noise <= NOISE:
        return ""
    return (
        f"**Noisy:** between its quartiles the bare function itself varies by {noise:.0%} of its "
        "median, so small differences in these tables mean nothing."
    )


def results_table(
    configuration: Configuration,
    figure: Callable[[Sample], float],
    *,
    redis: bool = False,
    digits: int = 0,
) -> str:
    """Return the medians of all contenders and rungs; with `redis`, the CPU time of Redis too."""

    def cell(rung: str, name: str) -> str:
        values = configuration.values(figure, rung, name)
        if not values:
            return NONE
        more = f" + {median(configuration.values(redis_cpu, rung, name)):,.0f}" if redis else ""
        return f"{median(values):,.{digits}f}{more}"

    return table(
        ["", *configuration.rungs],
        [
            [f"`{name}`", *(cell(rung, name) for rung in configuration.rungs)]
            for name in configuration.contenders
        ],
    )


def servers(configuration: Configuration) -> str:
    """Return what the ways of serving do at 16 and at 400 connections."""
    broken = {
        name: sum(
            sum(configuration.values(lambda one: one["broken"], rung, name))
            for rung in configuration.rungs
        )
        for name in configuration.contenders
    }
    failed = [f"`{name}`: {count:,.0f}" for name, count in broken.items() if count]
    rows = [
        [
            f"`{name}`",
            *(
                f"{median(configuration.values(figure, rung, name)):,.{digits}f}"
                for figure, digits in SERVED.values()
                for rung in configuration.rungs
            ),
        ]
        for name in configuration.contenders
    ]
    head = [f"{title}, {rung.split()[0]}" for title in SERVED for rung in configuration.rungs]
    return "\n\n".join(
        [
            table(["", *head], rows),
            f"Connections that failed or waited too long: {', '.join(failed) or 'none'}.",
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratios(configuration: Configuration) -> str:
    rivals, rows = [name for name in RIVALS if name in configuration.contenders], []
    for rung in configuration.rungs:
        for title, figure in (("requests/s", rate), ("CPU", per_cpu_second)):
            found = [configuration.ratios(figure, rung, (rung, name)) for name in rivals]
            if any(found):
                rows.append([f"{rung}, {title}", *map(_range, found)])
    return table(["`edge` over", *(f"`{name}`" for name in rivals)], rows)


def targets(configuration: Configuration) -> str:
    """Return which targets are reached, by CPU time; they are of one worker."""
    if configuration.workers > 1:
        return ""
    rows = []
    for target in TARGETS:
        found = [
            configuration.ratios(per_cpu_second, target.rung, target.other, product)
            for product in (PRODUCT, SILENT)
        ]
        if found[0]:
            cells = [(_range(ratios), _reached(ratios, target.least)) for ratios in found]
            rows.append([str(target), *cells[0], *cells[1]])
    head = ["target, by CPU", f"`{PRODUCT}`", "reached", f"`{SILENT}`", "reached"]
    return table(head, rows) if rows else ""


def _reached(ratios: list[float], least: float) -> str:
    if not ratios:
        return NONE
    return "yes" if median(ratios) >= least else "**no**"


def _range(values: list[float]) -> str:
    if not values:
        return NONE
    low, high = quartiles(values)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def _between(values: list[float]) -> float:
    low, high = quartiles(values)
    return high - low


def quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
