"""Serve and load the product without Redis, then with it; write `bench/load.json`.

python -m bench.load.run [USERS [SECONDS]]
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine, versions

from . import RESULT
from .command import command, numbers
from .driver import SPAWN_RATE, drive
from .service import serve
from .summary import series, totals

PRODUCTS = 10_000
KINDS = ("Shopper",)  # alone: the figures are to be compared with those before
RUNS = {"without": "without Redis", "with": "with Redis"}


def main(users: str = "400", seconds: str = "300") -> None:
    with command("load-report"):
        result = _measure_both(*numbers(users, seconds))
    text = re.sub(r"\n\s+(?=[-\dn\]])", " ", json.dumps(result, indent=1))  # a list is one line
    RESULT.write_text(f"{text}\n", encoding="utf-8")


def _measure_both(users: int, seconds: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": machine.describe([Path(sys.prefix)]),
        "servers": {},
        "parameters": {
            "users": users,
            "seconds": seconds,
            "spawn_rate": SPAWN_RATE,
            "products": PRODUCTS,
            "workers": os.cpu_count(),
        },
        "runs": {},
    }
    for run, name in RUNS.items():
        print(f"{name}: starting the servers, with {PRODUCTS:,} products", flush=True)
        with serve(PRODUCTS, with_redis=run == "with") as service:
            result["servers"] |= versions.of_servers(service.database_url, service.redis_url)
            requests, samples = drive(service, name, KINDS, users, seconds)
            result["runs"][run] = {
                "totals": totals(requests, samples),
                "series": series(requests, samples),
            }
    return result


if __name__ == "__main__":
    main(*sys.argv[1:3])
