"""Write what `run` measured into `docs/performance.md`, and print the table.

python -m bench.load.report
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import BenchError, machine
from bench.document import replace_section

from . import DOCUMENT, RESULT, plots

if TYPE_CHECKING:
    from pathlib import Path

PLOTS = DOCUMENT.with_suffix("")  # the directory of the same name
THINK_SECONDS = 2  # on average, in locustfile.py
LOCUST_CORES_MAX = 0.9  # above it locust itself warns
HEADER = ("", "without Redis", "with Redis", "change", "target with Redis", "reached")

SECTION = """
`make load-report` makes this section: it serves a fresh catalogue without Redis and then with it, \
on servers of its own, and loads each with the Shoppers of `locustfile.py`, who browse, read and \
change products. The figures are in `bench/load.json`.

{table}

Measured on {measured}: {users} users, {spawn_rate} more each second until all are there, for \
{seconds} s on each side; {products:,} products; {workers} workers; the default limits. All of it, \
the load too, shared one machine: {cores} cores of {cpu}, {kernel}, Python {python}, {servers}. \
The first seconds count too, in which the users arrive. Before them the load generator has read \
the products that its users ask for, at most 1,000: with Redis, these are cached from the beginning.

- **Throughput** is bounded by the users: a user thinks {think} s on average after each answer, so \
{users} users send about {bound:.0f} requests a second at most. The rows of CPU time tell how much \
work a request is.
- **The load generator** is one process, and kept {locust[0]:.2f} (without Redis) and \
{locust[1]:.2f} (with it) of a core busy in its busiest 5 s. {locust_verdict}
- **Other programs** of the machine kept {others[0]:.2f} and {others[1]:.2f} cores busy, on \
average. {others_verdict}
- **Transactions** with Redis are mostly the looks of each worker at the outbox, many times a \
second and whatever the load. The rows tell what the reads cost.

{images}
"""
LOCUST_IDLE = "It could have sent more."
LOCUST_BUSY = "That is its limit: a part of the response times is its own."


class Row(NamedTuple):
    name: str
    measure: str  # of the totals; a dot leads into a group
    form: str = "{:,.0f}"
    target: str = ""
    least: float = 0
    most: float = inf
    compared: bool = True


ROWS = (
    Row("response time, p50", "p50", "{:.1f} ms", "at most 15 ms", most=15),
    Row("response time, p95", "p95", "{:.1f} ms", "at most 50 ms", most=50),
    Row("response time, p99", "p99", "{:.1f} ms", "at most 100 ms", most=100),
    Row("PostgreSQL connections, most at once", "connections_max", target="at most 40", most=40),
    Row("PostgreSQL connections, active on average", "active_mean", "{:.2f}"),
    Row("PostgreSQL transactions per 1000 requests", "transactions_per_1000"),
    Row("PostgreSQL rows fetched per 1000 requests", "rows_per_1000"),
    Row("throughput", "throughput", "{:.1f}/s"),
    Row("cache hit rate, answers", "hit_rate", "{:.1%}", "at least 90 %", 0.9, compared=False),
    Row("cache hit rate, documents", "document_hit_rate", "{:.1%}", compared=False),
    Row("requests", "requests"),
    Row("failures", "failures", target="none", most=0, compared=False),
    Row("CPU time of the workers per 1000 requests", "cpu_per_1000.workers", "{:.2f} s"),
    Row("CPU time of PostgreSQL per 1000 requests", "cpu_per_1000.postgresql", "{:.2f} s"),
    Row("CPU time of Redis per 1000 requests", "cpu_per_1000.redis", "{:.2f} s"),
)


def main() -> None:
    if not RESULT.exists():
        raise SystemExit("load-report: nothing has been measured yet: `make load-report`")
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    table = aligned([HEADER, *(cells(row, result["runs"]) for row in ROWS)])
    drawn = plots.draw(result["runs"], PLOTS)
    try:
        replace_section(DOCUMENT, "load", section(result, table, drawn))
    except (BenchError, OSError) as error:
        raise SystemExit(f"load-report: {error}") from None
    print(f"{table}\n\nThe same, with plots, is in {DOCUMENT.relative_to(RESULT.parents[1])}.")


def cells(row: Row, runs: dict[str, Any]) -> tuple[str, ...]:
    """Return the texts of one line of the table."""
    before, after = (measured(runs[run]["totals"], row.measure) for run in ("without", "with"))
    values = ["none" if value is None else row.form.format(value) for value in (before, after)]
    change = reached = ""
    if row.compared and before and after is not None:
        change = f"{round(100 * (after / before - 1)):+d}%"
    if row.target:
        reached = "yes" if after is not None and row.least <= after <= row.most else "**no**"
    numbers = [text.replace("%", " %") for text in (*values, change)]
    return (row.name, *numbers, row.target, reached)


def measured(totals: dict[str, Any], measure: str) -> float | None:
    group, _, name = measure.rpartition(".")
    value: float | None = (totals[group] if group else totals).get(name)
    return value


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown that can be read as it is; numbers stand to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    rule = [":".rjust(width, "-") for width in others]
    lines = [
        [name.ljust(first), *map(str.rjust, texts, others)]
        for name, *texts in (rows[0], ("-" * first, *rule), *rows[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(result: dict[str, Any], table: str, drawn: dict[str, Path]) -> str:
    parameters = result["parameters"]
    locust, others = (
        [result["runs"][run]["totals"][measure] for run in ("without", "with")]
        for measure in ("locust_cores_max", "others_cores")
    )
    return SECTION.format(
        table=table,
        measured=result["measured"],
        **parameters,
        **result["machine"],
        servers=", ".join(f"{name} {version}" for name, version in result["servers"].items()),
        think=THINK_SECONDS,
        bound=parameters["users"] / THINK_SECONDS,
        locust=locust,
        locust_verdict=LOCUST_BUSY if max(locust) > LOCUST_CORES_MAX else LOCUST_IDLE,
        others=others,
        others_verdict=machine.verdict(max(others)),
        images="\n\n".join(
            f"![{title}]({path.relative_to(DOCUMENT.parent)})" for title, path in drawn.items()
        ),
    )


if __name__ == "__main__":
    main()
