"""The counts of the last minute and of each minute of the last hour."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .counts import Counts

MINUTE = 60
MINUTES_MAX = 60


class History:
    """Counts by minute, made of totals that only grow."""

    def __init__(self, minutes: Mapping[int, Mapping[str, int]], totals: Mapping[str, int]) -> None:
        """Go on from earlier minutes, by UNIX time, and the totals that they end with."""
        self.minutes: dict[int, Counts] = {at: Counter(counts) for at, counts in minutes.items()}
        self.totals: Counts = Counter(totals)
        self._recent: deque[tuple[float, Counts]] = deque()  # totals of the last minute

    def add(self, totals: Counts) -> None:
        """Add what has been counted since the last call."""
        minute = int(time.time()) // MINUTE * MINUTE
        counted = totals - self.totals
        self.minutes[minute] = self.minutes.get(minute, Counter()) + counted
        for old in sorted(self.minutes)[:-MINUTES_MAX]:
            del self.minutes[old]
        self.totals = self.totals | totals  # the larger of each: counts only grow
        now = time.monotonic()
        self._recent.append((now, totals))
        while len(self._recent) > 2 and self._recent[1][0] <= now - MINUTE:  # noqa: PLR2004
            self._recent.popleft()

    def last_minute(self) -> tuple[float, Counts]:
        """Return the counts of the last minute, and the seconds that they are of."""
        (began, first), (ended, last) = self._recent[0], self._recent[-1]
        return ended - began, last - first
