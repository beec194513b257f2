"""The cost of cached reads for each master of a Redis Cluster, and for the worker."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from bench import BenchError, wrk
from bench.stage import stage
from dev.embedded import programs
from dev.embedded.servers import SupervisedProcess

from .ground import WORKER, Ground, serving
from .tracking import redis_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator

MASTERS = (3, 6)
SLOTS = 16_384
PORT_MAX = 55_000  # the bus of a master is 10,000 above
PRODUCTS = 1000
CONNECTIONS, SECONDS, ROUNDS = 32, 3, 4
CLIENTS = 997  # addresses that ask, so that no shard has the only record of the limits
KINDS = {
    "item hit": [f"/products/{n}" for n in range(1, 251)],
    "page hit": [f"/products?skip={10 * n}&limit=10" for n in range(50)],
}


def measure() -> list[dict[str, Any]]:
    """Return the CPU time and the calls of each master, by kind and number of masters."""
    found = []
    for number in (1, *MASTERS):
        with ExitStack() as stack:
            this = stack.enter_context(stage())
            stack.enter_context(this.databases(os.sched_getaffinity(0)))
            this.fill(PRODUCTS)
            settings: dict[str, Any] = {"TRUSTED_PROXIES": "1"}
            if number > 1:
                ports = stack.enter_context(_cluster(number))
                settings["REDIS_URL"] = f"redis+cluster://127.0.0.1:{ports[0]}"
                masters = [redis.Redis(port=port) for port in ports]
            else:
                masters = [redis.from_url(this.redis_url)]
            ground = stack.enter_context(serving(this, **settings))
            found += [
                {"masters": number, "kind": kind, **_load(ground, masters, addresses)}
                for kind, addresses in KINDS.items()
            ]
    return found


def _load(this: Ground, masters: list[Any], addresses: list[str]) -> dict[str, Any]:
    """Return the round that cost least, which other programs disturbed least."""
    rounds = [_round(this, masters, addresses) for _ in range(ROUNDS)]
    return min(rounds, key=lambda one: float(one["worker"] + sum(one["redis"])))


def _round(this: Ground, masters: list[Any], addresses: list[str]) -> dict[str, Any]:
    requests = [
        wrk.Request(
            "GET", addresses[n % len(addresses)], {"X-Forwarded-For": f"10.0.{n >> 8}.{n & 255}"}
        )
        for n in range(CLIENTS)
    ]
    for _ in range(2):
        this.served.ask(requests)
    before, worker = [redis_cpu(one) for one in masters], this.cpu()[WORKER]
    window = wrk.load(this.served.port, requests, SECONDS, CONNECTIONS)
    worker = this.cpu()[WORKER] - worker
    used = [redis_cpu(one) - old for one, old in zip(masters, before, strict=True)]
    if window.refused or window.broken:
        raise BenchError(f"{window.refused} requests were refused, {window.broken} failed")
    return {
        "requests": window.requests,
        "worker": round(worker / window.requests, 1),
        "redis": sorted((round(1e6 * cpu / window.requests, 1) for cpu in used), reverse=True),
    }


@contextmanager
def _cluster(number: int) -> Iterator[list[int]]:
    """Run masters on this machine, each with its share of the slots."""
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as path, ExitStack() as stack:
        ports = [_free_port() for _ in range(number)]
        for port in ports:
            directory = Path(path) / str(port)
            directory.mkdir()
            command = [str(programs.find_redis()), "--port", str(port), "--dir", str(directory)]
            command += ["--cluster-enabled", "yes", "--save", "", "--bind", "127.0.0.1"]
            one = SupervisedProcess("redis", command, log=directory / "log")
            stack.callback(one.stop)
        clients: list[Any] = [redis.Redis(port=port) for port in ports]
        _await(lambda: all(client.ping() for client in clients))
        for place, client in enumerate(clients):
            first, last = SLOTS * place // number, SLOTS * (place + 1) // number - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
        _await(lambda: all(_knows(client, number) for client in clients))
        yield ports


def _knows(client: Any, number: int) -> bool:
    said = client.execute_command("CLUSTER", "INFO")
    text = said.decode() if isinstance(said, bytes) else str(said)
    return "cluster_state:ok" in text and f"cluster_known_nodes:{number}" in text


def _await(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except redis.RedisError:
            pass
        time.sleep(0.2)
    raise BenchError("the Redis Cluster does not come up")


def _free_port() -> int:
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if port < PORT_MAX:
                return port
