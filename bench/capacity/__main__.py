"""Tell what a shop of a size needs: `make capacity PRODUCTS=1000000 RATE=10000`.

Without arguments it prints the tables of docs/capacity.md, and writes them there.
"""

from __future__ import annotations

import argparse
from math import inf
from typing import TYPE_CHECKING

from bench import BenchError
from bench.contenders import ROOT
from bench.document import replace_section

from . import report
from .costs import Costs
from .model import Demand, plan

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = ROOT / "docs" / "capacity.md"
SECTION = "capacity"


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    asks = arguments.products is not None or arguments.rate is not None
    if not asks and arguments != parser.parse_args([]):
        parser.error("the tables have their own: give --products or --rate as well")
    try:
        costs = Costs.load()
        if not asks:
            text = report.section(costs)
            print(text)
            replace_section(DOCUMENT, SECTION, text)
            return
        demand = Demand(
            products=int(arguments.products or 1_000_000),
            rate=arguments.rate or 1000,
            exponent=arguments.exponent,
            ttl=arguments.ttl,
            utilisation=arguments.utilisation,
            cores=int(arguments.cores),
            memory=arguments.memory * (1 << 20),
        )
        print(report.one(demand, plan(demand, costs)))
    except BenchError as error:
        raise SystemExit(f"capacity: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity",
        description="Tell what a shop needs. Without --products and --rate: the tables of "
        "docs/capacity.md, which are written there as well.",
    )
    add = parser.add_argument
    add("--products", type=_number(1, 1e10), help="in the catalogue; 1000000 beside --rate")
    add(
        "--rate", type=_number(1, 1e7), help="requests a second at the peak; 1000 beside --products"
    )
    add("--exponent", type=_number(0, 2), default=1.0, help="of the popularity (Zipf), 1")
    add("--ttl", type=_number(1, 86_400), default=300, help="seconds, REDIS_CACHE_TTL, 300")
    add("--utilisation", type=_number(0.1, 0.95), default=0.6, help="of a core at the peak, 0.6")
    add("--cores", type=_number(1, 1000), default=16, help="of a host of the API, 16")
    add("--memory", type=_number(1, 1e9), default=inf, help="MiB for entries of products; no bound")
    return parser


def _number(least: float, most: float) -> Callable[[str], float]:
    """Return a type of arguments: a number from `least` to `most`, such as 1000 or 1e3."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
        return value

    return number


if __name__ == "__main__":
    main()
