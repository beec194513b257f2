"""One read of memoized documents, from the cache or from the database."""

from __future__ import annotations

import logging
import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from flask import has_app_context
from flask_caching.signals import cache_memoize_hit, cache_memoize_miss

from shop.config import current_settings
from shop.database.failures import is_database_gone
from shop.facts import Outcome, facts
from shop.log_throttle import once_a_minute
from shop.redis import RedisUnavailable

from .installation import computed_by
from .metrics import ERRORS, NOT_ADMITTED, REFUSED_FILLS, WAITS, reads
from .protocol import LEASE_SECONDS, MISSING_SECONDS, Entry, Fill, State, origin_of
from .statements import autocommit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from .declaration import Declaration

logger = logging.getLogger("shop.cache")

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05  # seconds, between two looks at another's lease


def cache_outcome() -> Outcome | None:
    """Return the outcome of the current request so far, None if it read no document."""
    return facts().outcome if has_app_context() else None


class Reader:
    """One call of a memoized function: what it has found and what it still waits for."""

    def __init__(  # noqa: PLR0913  (what a read is of, and how it is carried out)
        self,
        function: Declaration,
        generations: Sequence[str],
        keys: Sequence[str],
        compute: Callable[[list[int]], Mapping[int, bytes]],
        *,
        bounded: bool = False,
        apart: bool = False,
    ) -> None:
        """`apart`: each document is for another request, so none waits or fails for the others."""
        self.documents: dict[int, bytes] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._function = function
        self._generations = generations
        self._keys = keys
        self._compute = compute
        self._bounded = bounded
        self._apart = apart
        self._cache = function.cache

    def read(self) -> None:
        """Find every document, or compute it; wait for those that others are computing.

        Documents that are apart are left out where others are computing them.
        """
        wanted = list(range(len(self._keys)))
        deadline = time.monotonic() + LEASE_SECONDS
        pause = FIRST_PAUSE
        while True:
            try:
                entries = self._entries(wanted)
            except RedisUnavailable:
                self._count(Outcome.BYPASS, wanted)
                self._take(self._compute(wanted), wanted)
                return
            held = self._settle(entries, timed_out=time.monotonic() > deadline)
            if not held or self._apart:
                return
            if wanted != held or pause == FIRST_PAUSE:
                WAITS.labels(self._function.name).inc(len(held))
            wanted = held
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _entries(self, wanted: list[int]) -> dict[int, Entry]:
        keys = [self._keys[position] for position in wanted]
        read = self._cache.backend.read(self._generations, keys)
        return dict(zip(wanted, read, strict=True))

    def _settle(self, entries: dict[int, Entry], *, timed_out: bool) -> list[int]:
        """Take the hits, compute what is missing, and return what another reader computes.

        After the timeout, compute the held entries as well.
        """
        hits, missing, held = [], [], []
        for position, entry in entries.items():
            if entry.state is State.HIT:
                hits.append(position)
                self.documents[position] = entry.document
            elif entry.state is State.HELD and not timed_out:
                held.append(position)
            else:
                missing.append(position)
        self._count(Outcome.HIT, hits)
        if missing:
            self._compute_missing({position: entries[position] for position in missing})
        return held

    def _compute_missing(self, entries: dict[int, Entry]) -> None:
        positions = list(entries)
        leases = {
            position: entry.lease
            for position, entry in entries.items()
            if entry.state is State.LEASED
        }
        try:
            with _reading(self._cache.session()):
                computed = self._compute(positions)
                is_ours = self._is_computed_for(leases)
        except BaseException as error:
            self._give_back(leases)
            expired = {i: entry.document for i, entry in entries.items() if entry.document}
            is_enough = len(expired) == len(entries)
            if not is_database_gone(error) or not (is_enough or self._apart):
                raise
            self._cache.session.rollback()
            self._count(Outcome.STALE, list(expired))
            self.documents |= expired
            if not is_enough:
                raise
        else:
            self._count(Outcome.MISS, positions)
            self._take(computed, positions)
            if is_ours:
                self._fill(leases)
            else:
                self._give_back(leases)

    def _is_computed_for(self, leases: Mapping[int, bytes]) -> bool:
        """Tell whether the database that has computed is the one that the leases are for."""
        return all(
            computed_by(
                self._cache.session.connection(), self._cache.backend.watch.identity, wanted
            )
            for wanted in set(map(origin_of, leases.values()))
        )

    def _take(self, computed: Mapping[int, bytes], positions: list[int]) -> None:
        self.documents |= {position: computed.get(position, b"") for position in positions}

    def _fill(self, leases: dict[int, bytes]) -> None:
        """Store what was computed under a lease; the answer is right without it."""
        function, protocol = self._function, self._cache.backend.protocol
        ttl = getattr(current_settings(), function.ttl)
        missing = {position for position in leases if not self.documents[position]}
        try:
            if missing and not protocol.admit_missing(function.missing_key, len(missing)):
                self._give_back({position: leases.pop(position) for position in missing})
            entries = {
                self._keys[position]: (
                    lease,
                    _jittered(min(ttl, MISSING_SECONDS) if position in missing else ttl),
                    self.documents[position],
                )
                for position, lease in leases.items()
            }
            if self._bounded:
                self._fill_bounded(entries)
            else:
                refused = len(entries) - protocol.fill(entries)
                REFUSED_FILLS.labels(function.name).inc(refused)
        except RedisUnavailable as error:
            ERRORS.labels(function.name).inc()
            if error.__cause__ and once_a_minute(f"not stored: {function.family}"):
                logger.warning("Cache could not store %s: %s", function.family, error.__cause__)
            self._give_back(leases)

    def _fill_bounded(self, entries: Mapping[str, tuple[bytes, float, bytes]]) -> None:
        function, protocol = self._function, self._cache.backend.protocol
        for key, entry in entries.items():
            filled = protocol.fill_bounded(key, *entry, function.admission_key)
            REFUSED_FILLS.labels(function.name).inc(filled is Fill.REFUSED)
            NOT_ADMITTED.labels(function.name).inc(filled is Fill.NOT_ADMITTED)

    def _give_back(self, leases: dict[int, bytes]) -> None:
        given = {self._keys[position]: lease for position, lease in leases.items()}
        with suppress(RedisUnavailable):  # then the leases end by themselves
            self._cache.backend.protocol.give_back(given)

    def _count(self, outcome: Outcome, positions: Sequence[int]) -> None:
        self.outcomes |= dict.fromkeys(positions, outcome)
        if positions:
            keys = [self._keys[position] for position in positions]
            count(self._function, outcome, keys)


def count(function: Declaration, outcome: Outcome, keys: Sequence[str]) -> None:
    """Count documents of a function that were had in this way, and tell who asks for each."""
    known = facts()
    known.outcome = max(outcome, known.outcome or outcome)
    reads(function.name, outcome.name.lower()).inc(len(keys))
    if logger.isEnabledFor(logging.DEBUG):
        for key in keys:
            logger.debug("Cache %s: %s", outcome.name, function.shown(key))
    signal = {Outcome.HIT: cache_memoize_hit, Outcome.MISS: cache_memoize_miss}.get(outcome)
    if signal and signal.receivers:
        for key in keys:
            signal.send(function.cache, cache_key=key, f=function.uncached)


@contextmanager
def _reading(session: Session) -> Iterator[None]:
    """Begin no transaction for what only reads; one that is under way goes on."""
    if session.in_transaction():
        yield
        return
    try:
        with autocommit(session.connection()):
            yield
    finally:
        try:
            session.rollback()  # which gives the connection back
        except Exception:  # noqa: BLE001  (it is lost; what was read with it is still right)
            session.invalidate()


def _jittered(ttl: float) -> float:
    """Shorten a time to live by up to a tenth, so that what came together does not go together."""
    return ttl * random.uniform(0.9, 1.0)  # noqa: S311  (not a secret)
