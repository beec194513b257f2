"""Counters, gauges and histograms that several workers count together.

With PROMETHEUS_MULTIPROC_DIR, each worker counts in a file there, named after its process.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import Gauge, values
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from . import exemplars
from .shared_counts import Counts

__all__ = ["Counter", "Gauge", "Histogram"]


class Counter(prometheus_client.Counter):
    """A counter without the library's checks of the amount and the labels, which cost time."""

    def inc(self, amount: float = 1, _: object = None) -> None:
        self._value.inc(amount)


class Histogram(prometheus_client.Histogram):
    """A histogram without the library's check of the labels."""

    def observe(self, amount: float, _: object = None) -> None:
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def keep_exemplar(self, amount: float, request_id: str) -> None:
        """Let a request that was observed be the exemplar of its bucket."""
        bound = self._upper_bounds[bisect_left(self._upper_bounds, amount)]
        labels = dict(zip(self._labelnames, self._labelvalues, strict=True))
        labels["le"] = floatToGoString(bound)  # type: ignore[no-untyped-call]
        exemplars.keep(f"{self._name}_bucket", labels, request_id, amount)


_lock = threading.Lock()
_files: dict[str, Counts] = {}  # of this process
_values: list[_Value] = []
_is_forked = False  # and the files are still those of the parent


class _Value:
    """A number in the file of its kind and its process.

    The library's own value looks up its process, its file and its place for each count. A cached
    read counts nine times.
    """

    _multiprocess = True  # as in the library's value for several processes

    def __init__(self, kind: str, *named: Any, multiprocess_mode: str = "") -> None:
        """`named`: the metric, the number, its labels and their values, its help."""
        self._kind = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
        self._key = mmap_key(*named)
        with _lock:
            _begin_after_fork()
            self.begin()
            _values.append(self)

    def begin(self) -> None:
        """Find the number in the file of this process."""
        if self._kind not in _files:
            directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
            _files[self._kind] = Counts(str(directory / f"{self._kind}_{os.getpid()}.db"))
        self._file = _files[self._kind]
        self._place = self._file.place_of(self._key)

    def inc(self, amount: float) -> None:
        with _lock:
            if _is_forked:
                _begin_after_fork()
            self._file.numbers[self._place] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _lock:
            _begin_after_fork()
            self._file.numbers[self._place] = value
            self._file.numbers[self._place + 1] = timestamp or 0.0

    def get(self) -> float:
        with _lock:
            _begin_after_fork()
            return self._file.numbers[self._place]

    def set_exemplar(self, exemplar: object) -> None:
        """Do nothing: `exemplars.py` keeps those of all processes."""

    def get_exemplar(self) -> None:
        return None


def _begin_after_fork() -> None:
    """After a fork, let this process count in its own files."""
    global _is_forked  # noqa: PLW0603  (of the process)
    if _is_forked:
        _is_forked = False
        for file in _files.values():
            file.close()
        _files.clear()
        for value in _values:
            value.begin()


def _note_fork() -> None:
    global _is_forked  # noqa: PLW0603  (of the process)
    _is_forked = True
    _lock.release()


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_note_fork
    )
    values.ValueClass = _Value
