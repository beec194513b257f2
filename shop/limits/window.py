"""A sliding window: what was charged within the last period, in a bounded number of entries.

Every charge is kept with its time until a period has passed (a sliding log). Charges that fall
into the same hundredth of the period share one entry, and the time of the last of them. So in no
period does more than the quota pass, wherever it begins; and a charge stays for its period and up
to 1 % of it longer. A window has 101 entries at most, however large the quota.

The same rules are in Redis as a script, in `scripts.py`. Times are whole microseconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CELLS = 100  # of a period
SECOND = 1_000_000  # microseconds


class Window:
    """The charges of one client under one policy."""

    def __init__(self, period: int, entries: Iterable[tuple[int, int]] = ()) -> None:
        self.period = period
        self.entries = deque(entries)  # (time, cost), in the order of their times
        self.used = sum(cost for _, cost in self.entries)

    def advance(self, now: int) -> None:
        """Drop the entries that are a period old."""
        while self.entries and self.entries[0][0] + self.period <= now:
            self.used -= self.entries.popleft()[1]

    def charge(self, now: int, cost: int) -> int:
        """Charge, and return the earlier time of the entry; 0 for a new entry."""
        cell, joined = self.period // CELLS, 0
        self.used += cost
        if self.entries and self.entries[-1][0] // cell == now // cell:
            joined, before = self.entries.pop()
            cost += before
        self.entries.append((now, cost))
        return joined

    def repay(self, moment: int, cost: int, joined: int) -> None:
        """Undo a charge. `joined` is the earlier time of its entry; 0 for a new entry."""
        cell = self.period // CELLS
        for at in reversed(range(len(self.entries))):
            time, charged = self.entries[at]
            if time // cell != moment // cell:
                continue
            self.used -= min(cost, charged)
            if charged <= cost:
                del self.entries[at]
            else:
                before = joined if joined and time == moment else time
                self.entries[at] = (before, charged - cost)
            return

    def reset(self, now: int) -> int:
        """Return the time until an entry is dropped; 0 without entries."""
        return self.entries[0][0] + self.period - now if self.entries else 0

    def wait(self, now: int, excess: int) -> int:
        """Return the time until entries of `excess` or more are dropped."""
        wait = 0
        for time, cost in self.entries:
            if excess <= 0:
                break
            wait, excess = time + self.period - now, excess - cost
        return wait
