"""The memory of all bodies that a worker is reading."""

from __future__ import annotations

from typing import Protocol

BODIES_MAX = 32 * 1024 * 1024  # bytes


class BodyReader(Protocol):
    def give_up(self) -> None:
        """Refuse the request whose body is being read."""


class Bodies:
    """Counts the bytes of incomplete bodies.

    Beyond a bound the body that began first is given up. So clients that send slowly, to hold
    memory, make room for clients that send at once.
    """

    def __init__(self, most: int = BODIES_MAX) -> None:
        self._most = most
        self._came: dict[BodyReader, int] = {}  # in the order in which they began
        self._total = 0

    def add(self, reader: BodyReader, count: int) -> None:
        self._came[reader] = self._came.get(reader, 0) + count
        self._total += count
        while self._total > self._most:
            first = next(iter(self._came))
            self.end(first)
            first.give_up()

    def end(self, reader: BodyReader) -> None:
        """Forget a body that is complete, or that nobody reads any more."""
        self._total -= self._came.pop(reader, 0)
