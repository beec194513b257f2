"""Counts that the workers of a gunicorn share, in files under PROMETHEUS_MULTIPROC_DIR.

Each process counts in files of its own, which it maps into its memory. A process that writes to a
mapped page without room on the disk is killed (SIGBUS), so a file gets all its blocks before it is
mapped. Without room for that, the process counts in its own memory.

When a worker ends, its counts are added to those of ended workers, and its files are removed. There
are the files of living workers, and one file of each kind for all ended workers.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import mmap
import os
import struct
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from . import exemplars
from .shared_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

logger = logging.getLogger("shop.metrics")

FIRST_BYTES = 1 << 16
NUMBER_BYTES = 8
HEAD_BYTES = 8  # the number of used bytes, and padding
KINDS = ("counter", "histogram")
LOCK = "lock"
READER_SECONDS = 1  # a reader waits so long for a merger
MERGER_SECONDS = 0.5  # a merger waits so long for readers
# The library's errors for a file with other content.
UNREADABLE = (struct.error, RuntimeError, ValueError, TypeError, AttributeError)


class Counts(MmapedDict):
    """The counts of one kind and one process: in a file, or in memory without room on the disk."""

    def __init__(self, path: str) -> None:
        try:
            with Path(path).open("ab") as file:
                _reserve(file, max(file.tell(), FIRST_BYTES))
            super().__init__(path)  # type: ignore[no-untyped-call]
            self._view()
        except OSError as error:
            self._f: Any = None
            self._positions: dict[str, int] = {}
            self._used = HEAD_BYTES
            self._leave_file(error, b"")

    @property
    def is_shared(self) -> bool:
        return self._f is not None

    def place_of(self, key: str) -> int:
        """Return the place of a value in `numbers`; the time of the value follows."""
        if key not in self._positions:
            self._init_value(key)
        return self._positions[key] // NUMBER_BYTES

    def _view(self) -> None:
        """Point `numbers` to the current mapping."""
        whole = self._capacity // NUMBER_BYTES * NUMBER_BYTES
        self.numbers = memoryview(self._m)[:whole].cast("d")

    def _init_value(self, key: str) -> None:
        # The library would grow the file without its blocks.
        while self._used + _entry_bytes(key) > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        if self.is_shared:
            try:
                _reserve(self._f, self._capacity * 2)
            except OSError as error:
                self._leave_file(error, self._m[: self._used])
                return
            self._capacity *= 2
            self._m = mmap.mmap(self._f.fileno(), self._capacity)
            self._view()
        else:
            self._map_memory(self._m[: self._used], self._capacity * 2)

    def _leave_file(self, error: OSError, counts: bytes) -> None:
        """Go on in memory. The counts in the file stay there for readers."""
        if self.is_shared:
            self._f.close()
        self._f = None
        self._map_memory(counts, max(FIRST_BYTES, len(counts) * 2))
        _warn(error)

    def _map_memory(self, counts: bytes, capacity: int) -> None:
        self._capacity = capacity
        self._m = mmap.mmap(-1, capacity)
        self._m[: len(counts)] = counts
        self._view()

    def close(self) -> None:
        self.numbers.release()
        self._m.close()
        if self.is_shared:
            self._f.close()


def _entry_bytes(key: str) -> int:
    """Return the maximum size of an entry: a length, the key with padding, two numbers."""
    return 4 + len(key.encode()) + 8 + 16


def _reserve(file: IO[bytes], size: int) -> None:
    """Reserve all blocks of a file, if the system can. Raises OSError without room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


_warned: set[int] = set()  # processes


def _warn(error: OSError) -> None:
    """Log once that this process counts in its own memory."""
    if os.getpid() not in _warned:
        _warned.add(os.getpid())
        logger.warning(
            "Metrics are counted in this process alone: PROMETHEUS_MULTIPROC_DIR, %s: %s",
            os.environ["PROMETHEUS_MULTIPROC_DIR"],
            error.strerror,
        )


def registry() -> CollectorRegistry | None:
    """Return the counts of all processes; None if they cannot be read."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    found = CollectorRegistry()
    try:
        with _locked(directory, fcntl.LOCK_SH, READER_SECONDS):
            files = [str(one) for one in directory.glob("*.db") if _values(one)]
            metrics = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    except OSError as error:
        logger.warning("The metrics of other processes cannot be read: %s", error.strerror)
        return None
    found.register(_Read(metrics))
    return found


class _Read:
    """A collector of metrics that were read from files."""

    def __init__(self, metrics: Iterable[Any]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        return self._metrics


_ended: set[int] = set()  # processes whose counts are still to be merged


def merge_counts(process: int) -> None:
    """Keep the counts of a process that has ended, and remove its files.

    Counts that cannot be merged now are merged when the next process ends. Never raises: an error
    would end gunicorn's master.
    """
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    _ended.add(process)
    try:
        with _locked(directory, fcntl.LOCK_EX, MERGER_SECONDS):
            for one in list(_ended):
                if one == process or not _is_alive(one):  # a new process may have its number
                    _merge_all(directory, one)
                _ended.remove(one)
    except OSError as error:
        logger.debug("Counts are not merged: %s", error)
    except Exception:
        logger.exception("Counts cannot be merged")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _merge_all(directory: Path, process: int) -> None:
    for kind in KINDS:
        _merge(directory, kind, process)
    for gauge in directory.glob(f"gauge_*_{process}.db"):
        gauge.unlink()
    exemplars.merge(directory, process)


def _merge(directory: Path, kind: str, process: int) -> None:
    """Add the counts of a process to those of ended processes. Raises OSError without room."""
    own, all_ended = directory / f"{kind}_{process}.db", directory / f"{kind}_ended.db"
    if not own.exists():
        return
    sums: dict[str, float] = {}
    for key, value in (*_values(all_ended), *_values(own)):
        sums[key] = sums.get(key, 0.0) + value
    replace_file(all_ended, _as_file(sums))
    own.unlink()


def _as_file(counts: Mapping[str, float]) -> bytes:
    """Return the counts in the library's file format."""
    entries = bytearray()
    for key, value in counts.items():
        text = key.encode()
        padded = text + b" " * (8 - (len(text) + 4) % 8)
        entries += struct.pack(f"i{len(padded)}sdd", len(text), padded, value, 0.0)
    return struct.pack("ii", HEAD_BYTES + len(entries), 0) + entries


def _values(path: Path) -> list[tuple[str, float]]:
    """Return the counts in a file; none if it has no head yet, or other content."""
    try:
        found = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]
        values = [(key, value) for key, value, *_ in found]
        for key, _ in values:
            _metric, _name, labels, _help = json.loads(key)
            labels.items()
    except (FileNotFoundError, *UNREADABLE):
        return []
    return values


@contextmanager
def _locked(directory: Path, how: int, patience: float) -> Iterator[None]:
    """Hold the lock of the directory. Raises OSError if it is not free in `patience` seconds."""
    with (directory / LOCK).open("ab") as lock:
        ends = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise
                time.sleep(0.01)
        yield
