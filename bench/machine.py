"""The machine: its cores, the CPU time of its processes, what it is."""

from __future__ import annotations

import os
import platform
import sys
from collections import defaultdict
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

from . import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PROC = Path("/proc")
PACKAGES = (
    *("gunicorn", "gunicorn_h1c", "flask", "flask-caching", "flask-limiter", "redis", "hiredis"),
    *("fastapi", "fastapi-cache2", "slowapi", "uvicorn", "uvloop", "httptools", "asyncpg"),
    *("sqlalchemy", "psycopg2-binary", "locust"),
)
OTHERS_CORES_MAX = 0.2  # that other programs may keep busy while response times are measured
QUIET = "So the response times are those of the service."
NOISY = "**The response times are theirs as well: measure again when they do less.**"


def check() -> None:
    """Raises BenchError where CPU times and cores cannot be had."""
    if sys.platform != "linux":
        raise BenchError("the bench needs Linux: CPU times are read from /proc")


def shares(workers: int) -> tuple[set[int], set[int]]:
    """Return the cores of a server's workers, and those of Redis, PostgreSQL and wrk.

    If there are cores enough, each worker has one that nothing else uses; otherwise all share all.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > workers:
        return set(cores[-workers:]), set(cores[:-workers])
    return set(cores), set(cores)


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Keep the processes that are started in this block on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(process: int) -> float:
    """Return what a process and its descendants have used, in user and system time.

    Descendants that have ended count as soon as their parent has waited for them.
    """
    return cpu_seconds_by_name({"": process})[""]


def cpu_seconds_by_name(processes: Mapping[str, int]) -> dict[str, float]:
    """Return the same of several processes, all as they are at one moment."""
    times: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for path in PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # the name may have anything
        except OSError:
            continue  # it has ended
        times[int(path.parent.name)] = sum(map(int, fields[11:15]))  # own, and of the ended
        children[int(fields[1])].append(int(path.parent.name))

    def ticks(process: int) -> int:
        return times.get(process, 0) + sum(map(ticks, children[process]))

    return {name: ticks(one) / os.sysconf("SC_CLK_TCK") for name, one in processes.items()}


class Waits:
    """The time that the present threads of some processes, and of this one, wait for a core."""

    def __init__(self, processes: Iterable[int]) -> None:
        left, self._files = [os.getpid(), *processes], []
        own = left[0]
        while left:
            process = left.pop(0)
            for thread in (PROC / str(process) / "task").glob("[0-9]*"):
                self._files.append((thread / "schedstat").open("rb", buffering=0))
                if process != own:
                    left += map(int, (thread / "children").read_text().split())

    def milliseconds(self) -> float:
        """Return how long they were ready to run so far, and another thread ran, all together."""
        return sum(int(os.pread(file.fileno(), 100, 0).split()[1]) for file in self._files) / 1e6

    def close(self) -> None:
        for file in self._files:
            file.close()


def busy_seconds() -> float:
    """Return how long the cores were busy since the machine started, all together."""
    user, nice, system, _, _, *interrupts = (PROC / "stat").read_text().split("\n")[0].split()[1:8]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def verdict(others: float) -> str:
    """Return what response times are worth while other programs keep so many cores busy."""
    return NOISY if others > OTHERS_CORES_MAX else QUIET


def describe(environments: Iterable[Path]) -> dict[str, object]:
    """Return what a reader has to know of the machine, and the versions in these environments."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {one.name: _versions(one) for one in environments},
    }


def _cpu_model() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions(environment: Path) -> dict[str, str]:
    places = [str(place) for place in environment.glob("lib/python*/site-packages")]
    found = {one.name.lower(): one.version for one in distributions(path=places)}
    return {name: found[name] for name in PACKAGES if name in found}
