"""Cached reads: one round trip to Redis for a hit, a thread for documents that are missing."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask_caching.signals import cache_memoize_hit
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop import answers
from shop.cache.metrics import reads_counter
from shop.database.failures import RETRYABLE_STATES, sqlstate
from shop.extensions import cache
from shop.facts import Outcome
from shop.fields import INTEGER_MAX
from shop.limits.decision import count_decision, policy_names
from shop.prometheus import Counter
from shop.quotas import Payers
from shop.redis import RedisUnavailable, redis_connection
from shop.sessions.service import client_name, session_documents

from .answer_cache import COPY_SECONDS, AnswerCache, Copy
from .asgi_scope import parse_read_request
from .cluster import Cluster
from .coalescing import CoalescedReads
from .database_reads import compute
from .incoming_request import report_answer
from .learned_plans import LearnedPlans
from .one_server import OneServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from shop.answers import Answer, Document
    from shop.facts import Facts, ReadRequest
    from shop.keys.valid_credentials import ValidCredentials
    from shop.quotas import Charge

    from .answer_cache import Key
    from .incoming_request import IncomingRequest
    from .read_plan import ReadPlan
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
ATTEMPTS = 2  # to take a copy that another request makes, before a request reads by itself


class Hits:
    def __init__(self, app: Flask, threads: Threads) -> None:
        self._app = app
        self._threads = threads
        self._coalesced = CoalescedReads(app, threads)
        settings = app.config["SETTINGS"]
        self._connection = redis_connection(app)
        self.is_enabled = settings.edge_enabled and self._connection.enabled
        self._answer_cache = AnswerCache()
        self._mode = app.extensions["shop.limits"].mode
        self._redis: OneServer | Cluster = (
            Cluster(self._connection, self._mode)
            if self._connection.is_cluster
            else OneServer(self._connection, self._answer_cache.invalidate, self._mode)
        )
        self._being_read: set[Key] = set()  # copies that a request is making now
        self._plans = LearnedPlans()
        if self.is_enabled:
            self._plans.learn_from(app)
        self._watcher = app.extensions["cache"][cache].watcher
        self._counter = app.extensions["shop.limits"].counter
        self._valid_credentials: ValidCredentials = app.extensions["shop.valid_credentials"]

    def start(self) -> None:
        """Begin to keep a connection to Redis; call it on the loop."""
        if self.is_enabled:
            self._redis.start()

    def stop(self) -> None:
        self._redis.stop()

    @property
    def is_opening(self) -> bool:
        """True while a connection to Redis is being opened."""
        return self.is_enabled and self._redis.is_opening

    async def answer(self, incoming: IncomingRequest) -> Answer | None:
        """Return the answer to a read that has a plan; None if Flask has to answer."""
        if not self.is_enabled:
            return None
        read = incoming.facts.read_request = parse_read_request(incoming.scope, incoming.headers)
        plan = self._plans.find(read.url_key) if read else None
        if not (read and plan and self._is_ready()):
            return None
        try:
            return await self._answer(incoming, read, plan)
        except RedisUnavailable as error:
            self._counter.begin_fallback(error)
            return None

    def _is_ready(self) -> bool:
        """Return whether Redis answers, the watch is fresh, and nobody listens to each key."""
        return (
            self._redis.is_ready
            and self._watcher.is_fresh()
            and not cache_memoize_hit.receivers
            and not cache_logger.isEnabledFor(logging.DEBUG)
        )

    async def _answer(
        self, incoming: IncomingRequest, read: ReadRequest, plan: ReadPlan
    ) -> Answer | None:
        facts = incoming.facts
        payers = Payers(
            client_name(read.session) if read.session else incoming.client,
            incoming.client,
        )
        charges = plan.charges
        in_fallback = self._counter.in_fallback  # then a shard is lost, or Redis has just come back
        answered = await self._ask_redis(read, plan, payers, () if in_fallback else charges)
        if not answered:
            return None
        decided, was_found, copy = answered
        used = (
            self._counter.decide_in_fallback(payers, charges)
            if in_fallback
            else self._counter.parse_answer(payers, charges, decided)
        )
        facts.loop_usages = facts.usages = used
        violated = [usage for usage in used if not usage.passes and self._mode.enforced]
        if violated:
            answer = answers.rate_limited(violated, read.path, facts.request_id)
        else:
            if was_found and not copy:
                return None  # nothing of it is for everybody
            document = self._hit(facts, copy) if copy else await self._compute(facts, read, plan)
            if document is None:
                return None
            answer = answers.cached_read(document, read.path, read.if_none_match, facts.outcome)
        facts.refused_by = policy_names(violated) if violated else None
        count_decision(payers.client, used, enforced=self._mode.enforced)
        if read.session:
            self._valid_credentials.update(read.session, payers.client)
            reads_counter(session_documents.name, "hit").inc()
        (ANSWERED[answer.status] if violated or copy else MISS).inc()
        report_answer(incoming, answer, payers.client, plan.route)
        return answer

    async def _ask_redis(
        self, read: ReadRequest, plan: ReadPlan, payers: Payers, charges: Sequence[Charge]
    ) -> tuple[list[int], bool, Copy | None] | None:
        """Charge and read; return the decision, whether all was found, and a current copy.

        Return None for a session that Flask has to look up. There is no copy if no document that
        was found is for everybody. Of requests that miss one copy at the same time the first one
        reads, and the others take its copy: to read a large page for each of them would take
        longer than REDIS_TIMEOUT.
        """
        key, attempt = (read.url_key, read.row), 0
        decided: list[int] = []
        while True:
            change_count, copy = self._answer_cache.change_count, self._answer_cache.find(key)
            reads = attempt == ATTEMPTS or (copy is None and key not in self._being_read)
            if reads and self._redis.tracks_changes:
                self._being_read.add(key)
            try:
                answered = await self._redis.ask(
                    read, plan if reads else None, payers, () if attempt else charges
                )
            finally:
                if reads:
                    self._being_read.discard(key)
            if not (answered or attempt):
                return None
            usages, *found = answered or [[]]
            decided = decided or usages
            if not found:
                return decided, False, None
            if reads:
                return decided, True, self._compose(read, plan, found, change_count)
            copy = copy or self._answer_cache.find(key)
            if copy and self._is_whole(copy, epoch=found[0][0]):
                return decided, True, copy
            attempt += 1  # it has changed since this request came; to look again charges nothing

    def _hit(self, facts: Facts, copy: Copy) -> Document:
        facts.outcome = Outcome.HIT
        for name, count in copy.reads:
            reads_counter(name, "hit").inc(count)
        return copy.document

    async def _compute(self, facts: Facts, read: ReadRequest, plan: ReadPlan) -> Document | None:
        """Read missing documents in a thread; return None if Flask has to answer.

        Raises OverloadedError, and the errors of memoized functions but for those of the database.
        """
        if plan.has_tags:
            return None  # only the service knows the tags of now
        try:
            document = await self._read(facts, read, plan)
        except (DBAPIError, PoolTimeoutError) as error:
            if sqlstate(error) not in RETRYABLE_STATES:
                facts.read_error = error  # Flask raises it again, and does not wait a second time
            return None
        if document is None:
            facts.outcome = None  # Flask begins anew
        return document

    async def _read(self, facts: Facts, read: ReadRequest, plan: ReadPlan) -> Document | None:
        """Read missing documents in a thread; a single row with those of other requests."""
        if plan.is_row_alone and plan.rows and int(read.row) <= INTEGER_MAX:
            found = await self._coalesced.read(plan.rows, int(read.row), facts)
            if found:
                facts.outcome = found.outcome
                return plan.compose([[], [found.document]])
        document: Document | None = await self._threads.read(compute, self._app, facts, read, plan)
        return document

    def _is_whole(self, copy: Copy, *, epoch: bytes) -> bool:
        """Return whether a read of Redis would have found the documents of a copy."""
        same = (epoch, self._connection.known_origin) == (copy.epoch, copy.origin)
        return same and self._redis.tracks_changes and self._answer_cache.is_whole(copy)

    def _compose(
        self, read: ReadRequest, plan: ReadPlan, found: list[Any], change_count: int
    ) -> Copy | None:
        """Compose and keep the answer of a read; return None if Flask has to answer.

        `change_count`: that of the answer cache before the read was sent.
        """
        (epoch, left), *documents = found
        document = plan.compose(documents)
        if document is None:
            return None
        is_kept = self._redis.tracks_changes
        named = self._connection.prefixed(plan.names(read.row, documents)) if is_kept else ()
        copy = Copy(
            document,
            plan.reads(documents),
            epoch,
            self._connection.known_origin,
            frozenset(name.encode() for name in named),
            time.monotonic() + min(COPY_SECONDS, left / 1000),
            change_count,
        )
        if is_kept:
            self._answer_cache.keep((read.url_key, read.row), copy)
        return copy
