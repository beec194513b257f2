"""Reads of known addresses: one round trip to Redis for what is cached, a thread for the rest."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask_caching.signals import cache_memoize_hit
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop import answers
from shop.cache.metrics import reads
from shop.database.failures import UNDONE, sqlstate
from shop.extensions import cache
from shop.facts import Outcome
from shop.fields import INTEGER_MAX
from shop.limits.decision import count_decision, policy_names
from shop.prometheus import Counter
from shop.quotas import Payers
from shop.redis import RedisUnavailable, redis_connection
from shop.sessions.service import client_of, session_documents

from .addresses import Addresses
from .arrival import tell
from .asked import read_request
from .cluster import Cluster
from .kept import KEPT_SECONDS, Copy, Kept
from .misses import compute
from .one_server import OneServer
from .together import Together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from shop.answers import Answer, Document
    from shop.facts import Asked, Facts
    from shop.keys.known import Known
    from shop.quotas import Charge

    from .address import Address
    from .arrival import Arrival
    from .kept import Key
    from .threads import Threads

cache_logger = logging.getLogger("shop.cache")

REQUESTS = Counter(
    "shop_edge_requests",
    "Requests by what the edge did: hit, not_modified, refused, miss, or passed on into Flask.",
    ["result"],
)
ANSWERED = {
    HTTPStatus.OK: REQUESTS.labels("hit"),
    HTTPStatus.NOT_MODIFIED: REQUESTS.labels("not_modified"),
    HTTPStatus.TOO_MANY_REQUESTS: REQUESTS.labels("refused"),
}
MISS = REQUESTS.labels("miss")
PASSED = REQUESTS.labels("passed")
LOOKS = 2  # for a copy, before a request reads what others may read, too


class Hits:
    def __init__(self, app: Flask, threads: Threads) -> None:
        self._app = app
        self._threads = threads
        self._together = Together(app, threads)
        settings = app.config["SETTINGS"]
        self._connection = redis_connection(app)
        self.are_there = settings.edge_enabled and self._connection.enabled
        self._kept = Kept()
        self._enforced = settings.rate_limit_mode == "enforce"
        self._redis: OneServer | Cluster = (
            Cluster(self._connection, enforced=self._enforced)
            if self._connection.is_cluster
            else OneServer(self._connection, self._kept.note, enforced=self._enforced)
        )
        self._read_now: set[Key] = set()  # what copies will be made of
        self._addresses = Addresses()
        if self.are_there:
            self._addresses.learn_from(app)
        self._watch = app.extensions["cache"][cache].watch
        self._counter = app.extensions["shop.limits"].counter
        self._known: Known = app.extensions["shop.known"]

    def start(self) -> None:
        """Begin to keep a connection to Redis; call it on the loop."""
        if self.are_there:
            self._redis.start()

    def stop(self) -> None:
        self._redis.stop()

    @property
    def are_opening(self) -> bool:
        """Whether there will soon be a connection to Redis, which there is not now."""
        return self.are_there and self._redis.is_opening

    async def answer(self, arrival: Arrival) -> Answer | None:
        """Return the answer to a read of a known address; None where Flask has to answer."""
        if not self.are_there:
            return None
        asked = arrival.known.asked = read_request(arrival.scope, arrival.headers)
        address = self._addresses.find(asked.place) if asked else None
        if not (asked and address and self._is_ready()):
            return None
        try:
            return await self._answer(arrival, asked, address)
        except RedisUnavailable as error:
            self._counter.begin_fallback(error)
            return None

    def _is_ready(self) -> bool:
        """Tell whether Redis answers, and may be believed, and nobody asks for each key."""
        return (
            self._redis.is_ready
            and self._watch.is_fresh()
            and not cache_memoize_hit.receivers
            and not cache_logger.isEnabledFor(logging.DEBUG)
        )

    async def _answer(self, arrival: Arrival, asked: Asked, address: Address) -> Answer | None:
        known = arrival.known
        payers = Payers(
            client_of(asked.session) if asked.session else arrival.client, arrival.client
        )
        charges = address.charges
        in_fallback = self._counter.in_fallback  # then a shard is lost, or Redis has just come back
        looked = await self._look(asked, address, payers, () if in_fallback else charges)
        if not looked:
            return None
        told, was_found, copy = looked
        used = (
            self._counter.decide_in_fallback(payers, charges)
            if in_fallback
            else self._counter.parse_answer(payers, charges, told)
        )
        known.decided = known.usages = used
        violated = [usage for usage in used if not usage.passes and self._enforced]
        if violated:
            answer = answers.refuse(violated, asked.path, known.identifier)
        else:
            if was_found and not copy:
                return None  # nothing of it is for everybody
            document = (
                self._hit(known, copy) if copy else await self._compute(known, asked, address)
            )
            if document is None:
                return None
            answer = answers.read(document, asked.path, asked.if_none_match, known.outcome)
        known.refused = policy_names(violated) if violated else None
        count_decision(payers.client, used, enforced=self._enforced)
        if asked.session:
            self._known.note(asked.session, payers.client)
            reads(session_documents.name, "hit").inc()
        (ANSWERED[answer.status] if violated or copy else MISS).inc()
        tell(arrival, answer, payers.client, address.route)
        return answer

    async def _look(
        self, asked: Asked, address: Address, payers: Payers, charges: Sequence[Charge]
    ) -> tuple[list[int], bool, Copy | None] | None:
        """Charge; return what that tells, whether all was found, and a copy of it that is whole.

        None for a session that Flask has to look at. There is no copy where nothing of what was
        found is for everybody. Of requests that miss one copy at the same time the first one reads,
        and the others take the copy that it makes: to read a large page for each of them would
        take longer than Redis may.
        """
        key, look = (asked.place, asked.row), 0
        told: list[int] = []
        while True:
            heard, copy = self._kept.heard, self._kept.find(key)
            reads = look == LOOKS or (copy is None and key not in self._read_now)
            if reads and self._redis.tells_changes:
                self._read_now.add(key)
            try:
                answered = await self._redis.ask(
                    asked, address if reads else None, payers, () if look else charges
                )
            finally:
                if reads:
                    self._read_now.discard(key)
            if not (answered or look):
                return None
            usages, *found = answered or [[]]
            told = told or usages
            if not found:
                return told, False, None
            if reads:
                return told, True, self._compose(asked, address, found, heard)
            copy = copy or self._kept.find(key)
            if copy and self._is_whole(copy, epoch=found[0][0]):
                return told, True, copy
            look += 1  # it has changed since this request came; to look again charges nothing

    def _hit(self, known: Facts, copy: Copy) -> Document:
        known.outcome = Outcome.HIT
        for name, count in copy.reads:
            reads(name, "hit").inc(count)
        return copy.document

    async def _compute(self, known: Facts, asked: Asked, address: Address) -> Document | None:
        """Have a thread read what is not cached; None where Flask has to say what is wrong.

        Raises OverloadedError, and what the memoized functions do but for the database's errors.
        """
        if address.has_tags:
            return None  # which those are now is its service's to say: they may follow from a hint
        try:
            document = await self._read(known, asked, address)
        except (DBAPIError, PoolTimeoutError) as error:
            if sqlstate(error) not in UNDONE:
                known.failed = error  # it is raised again where it is answered: nobody waits twice
            return None
        if document is None:
            known.outcome = None  # Flask begins anew
        return document

    async def _read(self, known: Facts, asked: Asked, address: Address) -> Document | None:
        """Have a thread read what is not cached: a row with those that others ask for."""
        if address.is_row_alone and address.rows and int(asked.row) <= INTEGER_MAX:
            found = await self._together.read(address.rows, int(asked.row), known)
            if found:
                known.outcome = found.outcome
                return address.compose([[], [found.document]])
        document: Document | None = await self._threads.read(
            compute, self._app, known, asked, address
        )
        return document

    def _is_whole(self, copy: Copy, *, epoch: bytes) -> bool:
        """Tell whether a read of Redis would have found what a copy was made of."""
        same = (epoch, self._connection.known_origin) == (copy.epoch, copy.origin)
        return same and self._redis.tells_changes and self._kept.is_whole(copy)

    def _compose(self, asked: Asked, address: Address, found: list[Any], heard: int) -> Copy | None:
        """Make an answer of what a read has found, and keep it; None where Flask has to.

        `heard`: how many changes were told before that read was sent.
        """
        (epoch, left), *documents = found
        document = address.compose(documents)
        if document is None:
            return None
        is_kept = self._redis.tells_changes
        named = self._connection.named(address.names(asked.row, documents)) if is_kept else ()
        copy = Copy(
            document,
            address.reads(documents),
            epoch,
            self._connection.known_origin,
            frozenset(name.encode() for name in named),
            time.monotonic() + min(KEPT_SECONDS, left / 1000),
            heard,
        )
        if is_kept:
            self._kept.keep((asked.place, asked.row), copy)
        return copy
