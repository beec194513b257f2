"""A service over a catalogue, and the CPU time and the memory of each of its processes."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.contenders import product
from bench.stage import Served, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.wrk import Request

PROC = Path("/proc")
# One address sends everything that is measured here.
WITHOUT_QUOTAS = {
    "ADDRESS_LIMIT_CALLS": "1000000",
    "SESSION_LIMIT_CALLS": "1000000",
    "SESSION_OPEN_ORDERS": "0",
    "ADDRESS_OPEN_ORDERS": "0",
}
WORKER, REDIS, POSTGRES = "worker", "redis", "postgresql"


class Cost(NamedTuple):
    """The cost of one request."""

    worker: float  # microseconds of CPU time
    sent: int  # bytes of the answer, with its headers
    status: int
    outcome: str  # X-Cache


@dataclass(frozen=True)
class Ground:
    """A service, and its servers."""

    stage: Stage
    served: Served

    def processes(self) -> dict[str, list[int]]:
        """Return the processes of the workers and of each server."""
        [master] = _children(self.served.program.pid)
        servers = self.stage.processes()
        return {
            WORKER: _children(master),
            REDIS: descendants(servers[REDIS])[1:],
            POSTGRES: descendants(servers[POSTGRES])[1:],
        }

    def cpu(self) -> dict[str, float]:
        """Return the microseconds of CPU time that each has used so far."""
        return {name: cpu_microseconds(pids) for name, pids in self.processes().items()}

    def ask(self, requests: Sequence[Request]) -> list[Cost]:
        """Send requests one after the other, over one connection."""
        connection = HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        workers, costs = self.processes()[WORKER], []
        with contextlib.closing(connection):
            for method, address, headers, body in requests:
                more = {"Content-Type": "application/json"} if body else {}
                before = cpu_microseconds(workers)
                connection.request(method, address, body or None, headers | more)
                with connection.getresponse() as response:
                    head = sum(
                        len(name) + len(value) + 4 for name, value in response.headers.items()
                    )
                    sent = 19 + head + len(response.read())
                    used = cpu_microseconds(workers) - before
                    outcome = response.headers.get("X-Cache", "")
                    costs.append(Cost(used, sent, response.status, outcome))
        return costs


@contextmanager
def ground(products: int, workers: int = 1, **settings: str) -> Iterator[Ground]:
    """Serve a fresh catalogue of so many products."""
    with stage() as this, this.databases(os.sched_getaffinity(0)):
        this.fill(products)
        with serving(this, workers, **settings) as made:
            yield made


@contextmanager
def serving(this: Stage, workers: int = 1, **settings: str) -> Iterator[Ground]:
    """Serve what the servers have."""
    service = product("edge")
    environment = (*service.environment, *(WITHOUT_QUOTAS | settings).items())
    service = replace(service, environment=environment)
    with this.serve([service], workers, os.sched_getaffinity(0)) as [served]:
        yield Ground(this, served)


def cpu_microseconds(processes: Sequence[int]) -> float:
    """Return the CPU time of the present threads of these processes."""
    total = 0
    for process in processes:
        for path in (PROC / str(process) / "task").glob("[0-9]*/schedstat"):
            with contextlib.suppress(OSError):  # it has ended
                total += int(path.read_text().split()[0])
    return total / 1000


def proportional_bytes(process: int) -> int:
    """Return the memory of a process, of which shared pages count in parts (PSS)."""
    for line in (PROC / str(process) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


def descendants(process: int) -> list[int]:
    """Return a process and all that descend from it."""
    return [process, *(one for child in _children(process) for one in descendants(child))]


def _children(process: int) -> list[int]:
    found = []
    for path in (PROC / str(process) / "task").glob("[0-9]*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def rest(seconds: float, what: Ground) -> dict[str, float]:
    """Return the microseconds of CPU time that each uses in a second in which nobody asks."""
    before, began = what.cpu(), time.monotonic()
    time.sleep(seconds)
    after, took = what.cpu(), time.monotonic() - began
    return {name: (after[name] - before[name]) / took for name in after}
