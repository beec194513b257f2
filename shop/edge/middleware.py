"""The WSGI middleware."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask_caching.signals import cache_memoize_hit

from shop.cache import Outcome
from shop.cache.metrics import reads
from shop.extensions import cache
from shop.keys.caller import client_address, way_here
from shop.limits import record
from shop.limits.decision import Payers, names, refusing
from shop.limits.extension import DECIDED
from shop.logs import ARRIVED, IDENTIFIER, Answered, ahead, log_request
from shop.ops.metrics import count_request
from shop.prometheus import Counter
from shop.redis import RedisUnavailable, redis_connection
from shop.sessions.service import UNRENEWED_SECONDS, client_of, session_documents

from .answers import compose, refuse
from .asked import read_request
from .script import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask

    from shop.keys.known import Known

    from .address import Address
    from .addresses import Addresses
    from .answers import Answer
    from .asked import Asked

logger = logging.getLogger("shop.edge")
cache_logger = logging.getLogger("shop.cache")

REQUESTS = Counter(
    "shop_edge_requests",
    "Requests by what the edge did: hit, not_modified, refused, or passed on into Flask.",
    ["result"],
)
ANSWERED = {
    HTTPStatus.OK: REQUESTS.labels("hit"),
    HTTPStatus.NOT_MODIFIED: REQUESTS.labels("not_modified"),
    HTTPStatus.TOO_MANY_REQUESTS: REQUESTS.labels("refused"),
}
PASSED = REQUESTS.labels("passed")
STATUS_LINES = {status: f"{status.value} {status.phrase}".upper() for status in ANSWERED}


class Edge:
    """Answers what it can, ahead of the application, and passes on the rest."""

    def __init__(self, app: Flask, addresses: Addresses) -> None:
        settings = app.config["SETTINGS"]
        self._flask = app.wsgi_app
        self._addresses = addresses
        self._connection = redis_connection(app)
        self._watch = app.extensions["cache"][cache].watch
        self._counter = app.extensions["shop.limits"].counter
        self._known: Known = app.extensions["shop.known"]
        self._enforced = settings.rate_limit_mode == "enforce"
        self._way = way_here(settings)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token = ahead.set(environ)
        try:
            answer = self._answer(environ)
        except Exception:  # Flask will answer
            logger.exception("Unexpected error ahead of Flask")
            answer = None
        finally:
            ahead.reset(token)
        if answer is None:
            PASSED.inc()
            return self._flask(environ, start_response)
        start_response(STATUS_LINES[answer.status], answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> Answer | None:
        """Return the answer, if it can be had without Flask."""
        environ[ARRIVED] = started = time.perf_counter()
        asked = read_request(environ)
        address = self._addresses.find(asked.place) if asked else None
        if not (asked and address and self._is_ready()):
            return None
        environ[IDENTIFIER] = asked.identifier
        payers = self._payers(environ, asked)
        client = payers.client
        try:
            answered = self._ask(payers, address, asked)
        except RedisUnavailable as error:
            self._counter.begin_alone(error)
            return None
        if not answered:
            return None
        told, *found = answered
        used = self._counter.heard(payers, address.charges, told) if told else []
        environ[DECIDED] = used
        against = [usage for usage in used if not usage.passes and self._enforced]
        answer = None
        if against:
            answer = refuse(asked, used, against)
        elif found:
            answer = compose(asked, address, used, found, Outcome.HIT)
        if answer is None:
            return None
        refusing(client, used, enforced=self._enforced)
        if asked.session:
            self._known.note(asked.session, client)
            reads(session_documents.name, "hit").inc()
        if not against:
            _count_hits(address, found)
        ANSWERED[answer.status].inc()
        request = Answered(
            method=environ["REQUEST_METHOD"],
            route=address.route,
            path=asked.path,
            status=answer.status,
            seconds=time.perf_counter() - started,
            cache=Outcome.HIT.name if found else None,
            client=client,
            refused=names(against) or None,
            request_id=asked.identifier,
        )
        count_request(request)
        log_request(request)
        return answer

    def _payers(self, environ: WSGIEnvironment, asked: Asked) -> Payers:
        address = client_address(environ, self._way)
        return Payers(client_of(asked.session) if asked.session else address, address)

    def _is_ready(self) -> bool:
        """Tell whether Redis counts, answers, and may be believed, and nobody asks for each key."""
        return (
            self._connection.available
            and not self._counter.is_alone
            and self._watch.is_fresh()
            and not cache_memoize_hit.receivers
            and not cache_logger.isEnabledFor(logging.DEBUG)
        )

    def _ask(self, payers: Payers, address: Address, asked: Asked) -> list[Any]:
        """Return what ANSWER does. Raises RedisUnavailable."""
        keys = [record.key(payers.client), record.key(payers.address), *address.keys]
        if address.rows and address.is_row:
            keys.append(address.rows.prefix + asked.row)
        session = ""
        if asked.session:
            keys += [session_documents.generation_key, session_documents.prefix + asked.session]
            session = str(int(time.time()) + UNRENEWED_SECONDS)
        connection = self._connection
        enforced = "1" if self._enforced else ""
        arguments = [connection.origin, connection.prefix, enforced, session, *address.arguments]
        answer: list[Any] = connection.eval(ANSWER, keys, arguments)
        return answer


def _count_hits(address: Address, found: list[Any]) -> None:
    for name, count in address.reads(found):
        reads(name, "hit").inc(count)
