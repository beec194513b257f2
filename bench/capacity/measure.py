"""Measure what the model of capacity needs, and write bench/capacity.json: `make bench-capacity`.

python -m bench.capacity.measure [PART ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import BenchError, machine, versions, wrk
from bench.contenders import ROOT
from bench.stage import Stage
from dev.embedded import EmbeddedError
from dev.embedded.home import Home

from . import RESULT, busy, entries, hot, idle, requests, shards, tables, tracking, validation
from .ground import ground, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (10_000, 100_000, 1_000_000)  # products


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity.measure")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them"
    )
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    try:
        machine.check()
        wrk.find()
        for part in wanted:
            print(f"{part} ...", flush=True)
            _keep(part, PARTS[part]())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (BenchError, EmbeddedError) as error:
        raise SystemExit(f"bench-capacity: {error}") from None


def _requests_and_tables() -> dict[str, Any]:
    """Return what depends on the number of products, for each of them."""
    found: dict[str, Any] = {"requests": {}, "tables": {}}
    for products in SIZES:
        with _catalogue(products) as this:
            with serving(this) as ground:
                found["requests"][products] = requests.measure(ground, products)
            found["tables"][products] = tables.measure(this, sales=products == SIZES[-2])
            found["servers"] = versions.of_servers(this.database_url, this.redis_url)
    return found


@contextmanager
def _catalogue(products: int) -> Iterator[Stage]:
    """Run the servers with a catalogue of so many products, which is kept for the next run."""
    home = Home.at(Home.at(ROOT / "instance").path / f"bench-capacity-{products}")
    filled = home.path / "filled"
    with home.locked():
        stage = Stage(home)
        with stage.databases(os.sched_getaffinity(0)):
            if not filled.exists():
                stage.fill(products)
                filled.touch()
            yield stage


def _tracking() -> list[dict[str, Any]]:
    with ground(1000) as this:
        return tracking.measure(this)


def _busy() -> list[dict[str, Any]]:
    with ground(1000) as this:
        return busy.measure(this)


def _hot() -> dict[str, Any]:
    with ground(1000) as this:
        return hot.measure(this)


def _keep(part: str, found: Any) -> None:
    """Write one part into the file, and leave the others as they are."""
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    kept |= {
        "measured": time.strftime("%Y-%m-%d"),
        "machine": machine.describe([Path(sys.prefix)]),
        part: found,
    }
    lines = [f"{json.dumps(name)}: {_text(value)}" for name, value in kept.items()]
    RESULT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _text(value: Any) -> str:
    """Return JSON with a line for each element of a list."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f" {json.dumps(one)}" for one in value) + "\n]"
    if isinstance(value, dict) and any(isinstance(one, (dict, list)) for one in value.values()):
        inner = ",\n".join(f"{json.dumps(str(name))}: {_text(one)}" for name, one in value.items())
        return "{\n" + inner + "\n}"
    return json.dumps(value)


PARTS = {
    "entries": entries.measure,
    "tracking": _tracking,
    "busy": _busy,
    "leaderboard": _hot,
    "shards": shards.measure,
    "idle": idle.measure,
    "hit rates": validation.hit_rates,
    "response times": validation.response_times,
    "catalogues": _requests_and_tables,
}

if __name__ == "__main__":
    main()
