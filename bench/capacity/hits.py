"""The hit rate of a cache whose entries have a time to live, in a bounded memory.

`expected` computes it, for any number of things. `simulated` plays each request, which is how the
formula is checked where so many requests can be played.

The formula: one thing is asked for `rate` times a second at random moments (a Poisson process). It
is stored at a miss, for its time to live T; a write ends it before. So it lives for
L = (1 - e ** (-writes * T)) / writes seconds on average, has `rate * L` hits, and then a miss:
its hit rate is rate * L / (1 + rate * L), and it is stored for that share of the time. Where the
memory is too small for all that would be stored, what was not asked for in `idle` seconds has been
evicted (Che's approximation of LRU): a hit has to follow within `idle` on the request before it,
and `idle` is as long as the memory allows.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from math import exp, inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .popularity import Zipf

JITTER = 0.1  # by which a time to live is shortened at most
STEPS = 24  # of a bisection: each halves what is not known


class Expected(NamedTuple):
    hit_rate: float
    entries: float  # that are stored, on average
    idle: float  # seconds after which an entry is evicted; infinite if it never is


def expected(  # noqa: PLR0913  (each is one property of what is asked)
    popularity: Zipf,
    rate: float,
    ttl: float,
    *,
    writes: float = 0.0,
    forgets: float = 0.0,
    capacity: float = inf,
) -> Expected:
    """Return what to expect of so many requests and writes a second, at most `capacity` entries.

    Each write changes one thing, by its popularity; `forgets` times a second all are forgotten.
    """
    ttl *= 1 - JITTER / 2
    groups = list(popularity.groups())

    def of(idle: float) -> tuple[float, float]:
        hit_rate = stored = 0.0
        for count, chance in groups:
            life = _life(ttl, writes * chance + forgets)
            hits = rate * chance * _lived(rate * chance, life, idle)
            hit_rate += count * chance * hits / (1 + hits)
            stored += count * hits / (1 + hits)
        return hit_rate, stored

    hit_rate, stored = of(inf)
    if stored <= capacity:
        return Expected(hit_rate, stored, inf)
    low, high = 0.0, ttl
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle)[1] <= capacity else (low, middle)
    return Expected(*of(low), low)


def _life(ttl: float, writes: float) -> float:
    """Return the seconds that an entry lives, on average, if nothing evicts it."""
    return (1 - exp(-writes * ttl)) / writes if writes * ttl > 1e-9 else ttl  # noqa: PLR2004


def _lived(rate: float, life: float, idle: float) -> float:
    """Return the seconds until an entry expires or is evicted, on average."""
    if idle >= life:
        return life
    near = 1 - exp(-rate * idle)  # the chance that the next request comes in time
    endless = near / (rate * (1 - near)) if near < 1 else inf  # seconds, if nothing expired
    if endless == inf:
        return life
    # It lives for `idle` surely, and from then on it is lost at a rate by which it lives for
    # `endless` on average.
    later = endless - idle
    if later <= 0:
        return idle
    return idle + later * (1 - exp(-near / later * (life - idle)))


class Cache:
    """Entries with a time to live, of which the one is evicted that was not used for longest."""

    def __init__(self, capacity: float = inf) -> None:
        self._capacity = capacity
        self._ends: OrderedDict[int, float] = OrderedDict()
        self._queue: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._ends)

    def ask(self, thing: int, now: float, ttl: float) -> bool:
        """Tell whether a thing is a hit; if not, it is stored."""
        while self._queue and self._queue[0][0] <= now:
            end, gone = heapq.heappop(self._queue)
            if self._ends.get(gone) == end:
                del self._ends[gone]
        if thing in self._ends:
            self._ends.move_to_end(thing)
            return True
        self._ends[thing] = now + ttl
        heapq.heappush(self._queue, (now + ttl, thing))
        if len(self._ends) > self._capacity:
            self._ends.popitem(last=False)
        return False

    def forget(self, thing: int) -> None:
        self._ends.pop(thing, None)


def simulated(
    cache: Cache, requests: Iterable[tuple[float, int, float, bool]], begin: float = 0.0
) -> float:
    """Return the hit rate from `begin` on of requests (time, thing, time to live, is a write)."""
    asked = hits = 0
    for now, thing, ttl, is_write in requests:
        if is_write:
            cache.forget(thing)
        elif cache.ask(thing, now, ttl) and now >= begin:
            hits += 1
            asked += 1
        elif now >= begin:
            asked += 1
    return hits / asked if asked else 0.0
