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
from shop.facts import Outcome, current_facts
from shop.log_throttle import once_a_minute
from shop.redis import RedisUnavailable

from .installation import leads_to_origin
from .metrics import ERRORS, NOT_ADMITTED, REFUSED_FILLS, WAITS, reads_counter
from .protocol import (
    LEASE_SECONDS,
    MISSING_ID_SECONDS,
    Entry,
    EntryState,
    FillResult,
    origin_of_lease,
)
from .statements import autocommit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from .declaration import Declaration

logger = logging.getLogger("shop.cache")

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05  # seconds between two reads while another reader computes


def cache_outcome() -> Outcome | None:
    """Return the outcome of the current request so far; None if it has read no document."""
    return current_facts().outcome if has_app_context() else None


class Reader:
    """One call of a memoized function: the documents that it has found, and their outcomes."""

    def __init__(  # noqa: PLR0913  (the parts of a read, and two options)
        self,
        function: Declaration,
        generations: Sequence[str],
        keys: Sequence[str],
        compute: Callable[[list[int]], Mapping[int, bytes]],
        *,
        needs_admission: bool = False,
        coalesced: bool = False,
    ) -> None:
        """`coalesced`: each document is for another request; no request waits for another's."""
        self.documents: dict[int, bytes] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._function = function
        self._generations = generations
        self._keys = keys
        self._compute = compute
        self._needs_admission = needs_admission
        self._coalesced = coalesced
        self._cache = function.cache

    def read(self) -> None:
        """Find every document, or compute it; wait for those that other readers compute.

        A coalesced read leaves out the documents that other readers compute.
        """
        wanted = list(range(len(self._keys)))
        deadline = time.monotonic() + LEASE_SECONDS
        pause = FIRST_PAUSE
        while True:
            try:
                entries = self._entries(wanted)
            except RedisUnavailable:
                self._count(Outcome.BYPASS, wanted)
                self._keep(self._compute(wanted), wanted)
                return
            held = self._settle(entries, timed_out=time.monotonic() > deadline)
            if not held or self._coalesced:
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
        """Keep the hits, compute the missing documents, return the positions of held entries.

        After the timeout, compute the held entries as well.
        """
        hits, missing, held = [], [], []
        for position, entry in entries.items():
            if entry.state is EntryState.HIT:
                hits.append(position)
                self.documents[position] = entry.document
            elif entry.state is EntryState.HELD and not timed_out:
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
            if entry.state is EntryState.LEASED
        }
        try:
            with _without_transaction(self._cache.session()):
                computed = self._compute(positions)
                is_ours = self._is_computed_for(leases)
        except BaseException as error:
            self._give_back(leases)
            expired = {i: entry.document for i, entry in entries.items() if entry.document}
            is_enough = len(expired) == len(entries)
            if not is_database_gone(error) or not (is_enough or self._coalesced):
                raise
            self._cache.session.rollback()
            self._count(Outcome.STALE, list(expired))
            self.documents |= expired
            if not is_enough:
                raise
        else:
            self._count(Outcome.MISS, positions)
            self._keep(computed, positions)
            if is_ours:
                self._fill(leases)
            else:
                self._give_back(leases)

    def _is_computed_for(self, leases: Mapping[int, bytes]) -> bool:
        """Tell whether the database that has computed has the origin of the leases."""
        connection = self._cache.session.connection()
        database = self._cache.backend.watcher.database
        origins = set(map(origin_of_lease, leases.values()))
        return all(leads_to_origin(connection, database, origin) for origin in origins)

    def _keep(self, computed: Mapping[int, bytes], positions: list[int]) -> None:
        self.documents |= {position: computed.get(position, b"") for position in positions}

    def _fill(self, leases: dict[int, bytes]) -> None:
        """Store the computed documents in place of their leases; the answer needs no success."""
        function, protocol = self._function, self._cache.backend.protocol
        ttl = getattr(current_settings(), function.ttl)
        missing = {position for position in leases if not self.documents[position]}
        try:
            if missing and not protocol.admit_missing(function.missing_key, len(missing)):
                self._give_back({position: leases.pop(position) for position in missing})
            entries = {
                self._keys[position]: (
                    lease,
                    _jittered(min(ttl, MISSING_ID_SECONDS) if position in missing else ttl),
                    self.documents[position],
                )
                for position, lease in leases.items()
            }
            if self._needs_admission:
                self._fill_if_admitted(entries)
            else:
                refused = len(entries) - protocol.fill(entries)
                REFUSED_FILLS.labels(function.name).inc(refused)
        except RedisUnavailable as error:
            ERRORS.labels(function.name).inc()
            if error.__cause__ and once_a_minute(f"not stored: {function.family}"):
                logger.warning("Cache could not store %s: %s", function.family, error.__cause__)
            self._give_back(leases)

    def _fill_if_admitted(self, entries: Mapping[str, tuple[bytes, float, bytes]]) -> None:
        function, protocol = self._function, self._cache.backend.protocol
        for key, entry in entries.items():
            filled = protocol.fill_if_admitted(key, *entry, function.admission_key)
            REFUSED_FILLS.labels(function.name).inc(filled is FillResult.REFUSED)
            NOT_ADMITTED.labels(function.name).inc(filled is FillResult.NOT_ADMITTED)

    def _give_back(self, leases: dict[int, bytes]) -> None:
        by_key = {self._keys[position]: lease for position, lease in leases.items()}
        with suppress(RedisUnavailable):  # then the leases end by themselves
            self._cache.backend.protocol.give_back(by_key)

    def _count(self, outcome: Outcome, positions: Sequence[int]) -> None:
        self.outcomes |= dict.fromkeys(positions, outcome)
        if positions:
            keys = [self._keys[position] for position in positions]
            count_reads(self._function, outcome, keys)


def count_reads(function: Declaration, outcome: Outcome, keys: Sequence[str]) -> None:
    """Count documents of a function by outcome: in the facts, metrics, logs and signals."""
    known = current_facts()
    known.outcome = max(outcome, known.outcome or outcome)
    reads_counter(function.name, outcome.name.lower()).inc(len(keys))
    if logger.isEnabledFor(logging.DEBUG):
        for key in keys:
            logger.debug("Cache %s: %s", outcome.name, function.for_logs(key))
    signal = {Outcome.HIT: cache_memoize_hit, Outcome.MISS: cache_memoize_miss}.get(outcome)
    if signal and signal.receivers:
        for key in keys:
            signal.send(function.cache, cache_key=key, f=function.uncached)


@contextmanager
def _without_transaction(session: Session) -> Iterator[None]:
    """Begin no transaction for a read; a transaction that is under way goes on."""
    if session.in_transaction():
        yield
        return
    try:
        with autocommit(session.connection()):
            yield
    finally:
        try:
            session.rollback()  # gives the connection back
        except Exception:  # noqa: BLE001  (a lost connection; the rows that it has read are right)
            session.invalidate()


def _jittered(ttl: float) -> float:
    """Shorten a time to live by up to a tenth, so that entries do not all end together."""
    return ttl * random.uniform(0.9, 1.0)  # noqa: S311  (not a secret)
