"""Standard output and standard error whose writers wait for no reader.

A pipe that nobody reads, a stopped terminal, or a collector of logs that hangs would block every
request that writes a line. So a thread writes the lines in order, from a bounded queue. Lines
beyond the bound are dropped and counted, until all waiting lines are written; then one more line
has the count. A file needs no reader, and is written at once.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import signal
import stat
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from .prometheus import Counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

BACKLOG_MAX = 1024 * 1024  # bytes that may wait for a reader, in each process
PAUSE_SECONDS = 0.05  # between two writes, so that one write takes several lines
STUCK_SECONDS = 0.5  # an exit waits so long for a reader that reads nothing
EXIT_SECONDS = 5.0  # an exit waits so long for a slow reader
FORK_SECONDS = 0.1  # a fork waits so long for the thread to end

DROPPED = Counter(
    "shop_log_dropped_lines",
    "Lines of standard output and error that were dropped, because nobody read them in time.",
)


def write_in_background(tell: Callable[[int], str]) -> None:
    """Replace standard output and error, so that no writer waits for a reader.

    `tell` returns the line with the number of dropped lines.
    """
    outputs: dict[tuple[int, int], Output] = {}  # by device and inode
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None or not _may_wait(stream):
            continue
        stream.flush()
        found = os.fstat(stream.fileno())
        place = (found.st_dev, found.st_ino)
        if place not in outputs:
            outputs[place] = Output(stream.fileno(), stream.name, tell)
            atexit.register(outputs[place].finish)
        text = io.TextIOWrapper(outputs[place], stream.encoding, stream.errors, line_buffering=True)
        atexit.register(text.flush)  # runs before `finish`, which was registered earlier
        setattr(sys, name, text)


def _may_wait(stream: TextIO) -> bool:
    if isinstance(stream.buffer, Output):
        return False
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()


class Output(io.RawIOBase):
    """A stream whose lines a thread writes to a descriptor, with a bounded queue."""

    def __init__(self, descriptor: int, name: str, tell: Callable[[int], str]) -> None:
        super().__init__()
        self.name = name
        self._descriptor = descriptor
        self._tell = tell
        self._begin()
        os.register_at_fork(before=self._end_thread, after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with an empty queue: after a fork, the parent writes the lines that wait."""
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0  # bytes that wait
        self._dropped = 0  # lines, since the last line with the count
        self._written = 0  # pieces
        self._is_idle = True
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        lines = bytes(data)
        with self._changed:
            if self._dropped or (self._waiting and self._size + len(lines) > BACKLOG_MAX):
                self._drop(lines)
            else:
                self._waiting.append(lines)
                self._size += len(lines)
            if self._is_idle:
                self._wake()
        return len(lines)

    def finish(self) -> None:
        """Wait until all lines are written, or the reader is stuck."""
        deadline = time.monotonic() + EXIT_SECONDS
        with self._changed:
            self._hurry.set()
            while not self._is_idle and time.monotonic() < deadline:
                written = self._written
                self._changed.wait(STUCK_SECONDS)
                if written == self._written:
                    return

    def _wake(self) -> None:
        self._is_idle = False
        if self._thread:
            self._changed.notify_all()
            return
        with suppress(RuntimeError):  # the interpreter ends, and starts no more threads
            self._thread = threading.Thread(target=self._work, name="output", daemon=True)
            self._thread.start()

    def _end_thread(self) -> None:
        """End the thread before a fork, unless it waits for a reader. A later write starts one."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread:
            self._hurry.set()
            thread.join(FORK_SECONDS)
            self._hurry.clear()

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread waits
        mine = threading.current_thread()
        while True:
            self._hurry.wait(PAUSE_SECONDS)
            try:
                self._write_all()
            except OSError:  # the reader is gone
                self._drop_all()
            with self._changed:
                if self._waiting:
                    continue
                self._is_idle = True
                self._changed.notify_all()
                while self._is_idle and self._thread is mine:
                    self._changed.wait()
                # A line may have come just before a fork, which has taken this thread's place away.
                if self._is_idle or self._thread not in {mine, None}:
                    return

    def _write_all(self) -> None:
        """Write the waiting lines, then the number of dropped ones. Raises OSError."""
        while True:
            dropped = self._dropped  # while it is above 0, the queue takes no lines
            if some := self._next():
                self._put(b"".join(some))
                self._remove(some)
            elif dropped:
                self._put(self._tell(dropped).encode())
                with self._changed:
                    self._dropped -= dropped
            else:
                return

    def _next(self) -> list[bytes]:
        """Return lines that fit into one write, which no other process can divide."""
        some: list[bytes] = []
        size = 0
        with self._changed:
            for lines in self._waiting:
                size += len(lines)
                if some and size > select.PIPE_BUF:
                    break
                some.append(lines)
        return some

    def _put(self, lines: bytes) -> None:
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])

    def _remove(self, some: list[bytes]) -> None:
        with self._changed:
            for lines in some:
                self._waiting.popleft()
                self._size -= len(lines)
            self._written += 1
            self._changed.notify_all()

    def _drop(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self._dropped += count
        DROPPED.inc(count)

    def _drop_all(self) -> None:
        with self._changed:
            for lines in self._waiting:
                self._drop(lines)
            self._waiting.clear()
            self._size = 0
