"""The bodies that a worker reads at a time, of all its connections."""

from __future__ import annotations

from typing import Protocol

BODIES_MAX = 32 * 1024 * 1024  # bytes


class Reading(Protocol):
    def give_up(self) -> None:
        """Refuse the request whose body is being read."""


class Bodies:
    """How much has come of bodies that are not whole so far.

    Beyond a bound the one that began first is given up. Clients that send slowly, to hold memory,
    make room for those whose body comes in one go.
    """

    def __init__(self, most: int = BODIES_MAX) -> None:
        self._most = most
        self._came: dict[Reading, int] = {}  # in the order in which they began
        self._total = 0

    def add(self, reading: Reading, count: int) -> None:
        self._came[reading] = self._came.get(reading, 0) + count
        self._total += count
        while self._total > self._most:
            first = next(iter(self._came))
            self.end(first)
            first.give_up()

    def end(self, reading: Reading) -> None:
        """Forget a body that is whole, or that nobody reads any more."""
        self._total -= self._came.pop(reading, 0)
