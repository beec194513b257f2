"""The popularity of things: the n-th is asked for n ** -exponent as often as the first."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

EXACT = 200  # ranks that are looked at one by one; the others in groups
WIDTH = 1.05  # of a group: its last rank over its first


class Zipf:
    """A Zipf distribution over so many things, by groups of neighbours that are asked alike."""

    def __init__(self, things: int, exponent: float = 1.0) -> None:
        self.things, self.exponent = things, exponent
        self._groups = list(self._make_groups())
        self._sums = list(accumulate(weight for _, _, weight in self._groups))
        self._total = self._sums[-1]

    def groups(self) -> Iterator[tuple[int, float]]:
        """Yield how many things a group has, and the chance that one of them is asked for."""
        for first, last, weight in self._groups:
            yield last - first + 1, weight / (last - first + 1) / self._total

    def draw(self, chance: random.Random) -> int:
        """Return a rank from 1, drawn by its popularity; those of one group are equally likely."""
        first, last, _ = self._groups[bisect(self._sums, chance.random() * self._total)]
        return first if first == last else chance.randint(first, last)

    def share(self, first: int) -> float:
        """Return the share of requests that ask for the first so many things."""
        return sum(count * chance for count, chance in self._up_to(first))

    def _up_to(self, last: int) -> Iterator[tuple[int, float]]:
        left = last
        for count, chance in self.groups():
            yield min(count, left), chance
            left -= count
            if left <= 0:
                return

    def _make_groups(self) -> Iterator[tuple[int, int, float]]:
        first = 1
        while first <= self.things:
            last = first if first < EXACT else min(self.things, int(first * WIDTH))
            # The middle of the group stands for all of it: of so narrow a one, within 1e-3.
            middle = (first + last) / 2
            yield first, last, (last - first + 1) * middle**-self.exponent
            first = last + 1
