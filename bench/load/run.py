"""Serve and load the product without Redis, then with it; write `bench/load.json`.

python -m bench.load.run [USERS [SECONDS]]
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg2
import redis

from bench import BenchError, machine
from shop.embedded import EmbeddedError

from . import RESULT
from .sampler import Sample, sampler
from .service import ADMIN_KEY, PROGRAMS, Service, last_line, serve
from .summary import read_record, series, totals

if TYPE_CHECKING:
    from types import FrameType

    from shop.embedded.servers import Guarded

RECORDER = Path(__file__).with_name("recorder.py")
PRODUCTS = 10_000
SPAWN_RATE = 50  # users a second
SAMPLE_SECONDS = 1
GRACE_SECONDS = 60  # for locust to begin and to end
RUNS = {"without": "without Redis", "with": "with Redis"}
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(users: str = "400", seconds: str = "300") -> None:
    for number in ENDINGS:
        signal.signal(number, _end)
    try:
        machine.check()
        result = _measure_both(
            _number("USERS", users, 1, 10_000), _number("SECONDS", seconds, 20, 86_400)
        )
    except (BenchError, EmbeddedError, OSError, psycopg2.Error, redis.RedisError) as error:
        raise SystemExit(f"load-report: {last_line(str(error))}") from None
    text = re.sub(r"\n\s+(?=[-\dn\]])", " ", json.dumps(result, indent=1))  # a list is one line
    RESULT.write_text(f"{text}\n", encoding="utf-8")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave through every context, which stops what was started; no second signal prevents it."""
    for one in ENDINGS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise BenchError(f"{name} must be a whole number from {least} to {most}, not {text}")
    return int(text)


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
            result["servers"] |= _server_versions(service)
            result["runs"][run] = _measure(service, name, users, seconds)
    return result


def _server_versions(service: Service) -> dict[str, str]:
    connection = psycopg2.connect(service.database_url)
    number = connection.server_version
    connection.close()
    found = {"PostgreSQL": f"{number // 10_000}.{number % 10_000}"}
    if service.redis_url:
        with redis.Redis.from_url(service.redis_url) as client:
            info = client.info("server")
        name = info.get("server_name", "redis")
        found[name.capitalize()] = info.get(f"{name}_version", info["redis_version"])
    return found


def _measure(service: Service, name: str, users: int, seconds: int) -> dict[str, Any]:
    record = service.directory / "requests.csv"
    command = [str(PROGRAMS / "locust"), "-f", f"locustfile.py,{RECORDER}"]
    command += ["--headless", "--only-summary", "--users", str(users), "--host", service.url]
    command += ["--spawn-rate", str(SPAWN_RATE), "--run-time", f"{seconds}s"]
    command += ["Shopper"]  # alone: the figures are to be compared with those before
    locust = service.run("locust", command, ADMIN_API_KEY=ADMIN_KEY, LOAD_RECORD=str(record))
    try:
        samples = _sample_to_the_end(service, name, locust, seconds)
    finally:
        locust.stop()
    requests = read_record(record)
    if not requests:
        log = (service.directory / "locust.log").read_text(encoding="utf-8")
        raise BenchError(f"no request was made: {last_line(log)}")
    return {"totals": totals(requests, samples), "series": series(requests, samples)}


def _sample_to_the_end(service: Service, name: str, locust: Guarded, seconds: int) -> list[Sample]:
    """Sample once a second until the load has ended, and tell of the progress."""
    samples: list[Sample] = []
    began = time.monotonic()
    with sampler(service, service.children | {"locust": locust}) as sample:
        while locust.ended() is None:
            for part, child in service.children.items():
                if child.ended() is not None:
                    raise BenchError(f"{part} ended during the test")
            elapsed = time.monotonic() - began
            if elapsed > seconds + GRACE_SECONDS:
                raise BenchError("locust does not end")
            samples.append(sample())
            line = f"{name}: {min(elapsed, seconds):.0f} of {seconds} s"
            _show_progress(f"{line}, {samples[-1].connections} connections", len(samples))
            time.sleep(SAMPLE_SECONDS - (time.monotonic() - began) % SAMPLE_SECONDS)
    print(flush=True)
    return samples


def _show_progress(line: str, number: int) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)
    elif number % 10 == 1:
        print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
