"""Metrics of the processes of this gunicorn: its master and its workers together.

Their names are those that Prometheus' libraries have for one process. They are read from /proc; a
system without it has none.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shop import worker_states
from shop.worker_states import WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

PROC = Path("/proc")
USER_TIME, STARTED = 11, 19  # fields of `stat` after the name (proc_pid_stat(5))


class ProcessesCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        with suppress(OSError):  # a worker has ended meanwhile, or there is no /proc
            yield from _measure(*_processes())


def _processes() -> tuple[int, list[int]]:
    """Return the master, which without gunicorn is this process, and its workers."""
    if not worker_states.count(WorkerState.SERVING):
        return os.getpid(), []
    master = os.getppid()
    children = (PROC / f"{master}/task/{master}/children").read_text().split()
    return master, [int(child) for child in children]


def _measure(master: int, workers: Iterable[int]) -> Iterator[Metric]:
    ticks = os.sysconf("SC_CLK_TCK")
    everyone = [master, *workers]
    stats = [_stat(one) for one in everyone]
    # A worker that has ended is in the times of the children that its master has waited for.
    spent = sum(sum(stat[USER_TIME : USER_TIME + 2]) for stat in stats)
    spent += sum(stats[0][USER_TIME + 2 : USER_TIME + 4])
    yield CounterMetricFamily(
        "process_cpu_seconds", "CPU time of the master and all its workers.", value=spent / ticks
    )
    yield GaugeMetricFamily(
        "process_resident_memory_bytes",
        "Memory of the master and its workers; what they share is counted once (PSS).",
        value=sum(map(_memory_bytes, everyone)),
    )
    yield GaugeMetricFamily(
        "process_open_fds",
        "Open files and connections of the master and its workers.",
        value=sum(len(list((PROC / f"{one}/fd").iterdir())) for one in everyone),
    )
    yield GaugeMetricFamily(
        "process_max_fds",
        "Files and connections that they can have open.",
        value=sum(map(_most_files, everyone)),
    )
    booted = int(_find(r"btime (\d+)", PROC / "stat"))
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "UNIX time at which the master was started.",
        value=booted + stats[0][STARTED] / ticks,
    )


def _stat(process: int) -> list[int]:
    after_name = (PROC / f"{process}/stat").read_text().rpartition(") ")[2].split()
    return [0, *map(int, after_name[1:])]  # the first is a letter, the state


def _memory_bytes(process: int) -> int:
    return 1024 * int(_find(r"Pss:\s+(\d+)", PROC / f"{process}/smaps_rollup"))


def _most_files(process: int) -> int:
    return int(_find(r"Max open files\s+(\d+)", PROC / f"{process}/limits"))


def _find(pattern: str, path: Path) -> str:
    """Return a number in a file. Raises OSError without one."""
    found = re.search(pattern, path.read_text())
    if not found:
        raise OSError(f"{path} has no {pattern}")
    return found[1]
