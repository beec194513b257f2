"""Measure what it costs to find products; print the figures, and write `bench/search.json`.

python -m bench.search.run [--quick] [--only cold far hits]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench import BenchError, machine, wrk

from . import RESULT, cold, far, hits
from .draw import Draw
from .ground import Ground, ground
from .questions import KINDS
from .report import section

PRODUCTS, QUICK = 1_000_000, 100_000
PARTS = ("cold", "far", "hits")


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(prog="python -m bench.search.run")
    parser.add_argument("--quick", action="store_true", help=f"with {QUICK:,} products")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    arguments = parser.parse_args()
    products = QUICK if arguments.quick else PRODUCTS
    try:
        machine.check()
        wrk.find()
        with ground(products) as this:
            result = _measure(this, products, arguments.only)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except BenchError as error:
        raise SystemExit(f"bench-search: {error}") from None
    print(f"\n{section(result)}")
    if not arguments.quick and set(arguments.only) == set(PARTS):
        _keep(result)


def _measure(this: Ground, products: int, parts: list[str]) -> dict[str, Any]:
    draw = Draw(this.names(), products)
    began, busy, own = time.monotonic(), machine.busy_seconds(), machine.cpu_seconds(os.getpid())
    samples: dict[str, list[dict[str, Any]]] = {}
    if "cold" in parts:
        samples["cold"] = cold.measure(this, draw, KINDS)
    if "far" in parts:
        samples["far"] = far.measure(this, products)
    if "hits" in parts:
        samples["hits"] = hits.measure(this, draw)
    own, busy = machine.cpu_seconds(os.getpid()) - own, machine.busy_seconds() - busy
    return {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": machine.describe([Path(sys.prefix)]),
        "servers": this.versions(),
        "products": products,
        "others": round(max(0, busy - own) / (time.monotonic() - began), 2),
        "samples": samples,
    }


def _keep(result: dict[str, Any]) -> None:
    """Write the result, with a line for each sample."""
    parts = []
    for name, found in result["samples"].items():
        lines = ",\n".join(json.dumps(one) for one in found)
        parts.append(f'"{name}": [\n{lines}\n]')
    head = json.dumps(result | {"samples": {}}, indent=1).removesuffix("{}\n}")
    RESULT.write_text(head + "{\n" + ",\n".join(parts) + "\n}\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
