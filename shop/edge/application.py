"""How a worker answers: cached reads on the loop, everything else in threads."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from werkzeug.exceptions import HTTPException

from shop import answers
from shop.answers import Answer
from shop.client_address import way_here
from shop.config import BODY_MAX, PATH_SHOWN
from shop.cors import CrossOrigin
from shop.facts import ENVIRONMENT
from shop.logs import PROBES
from shop.ops import probes
from shop.problems import DatabaseBusyError, InternalError, OverloadedError

from .arrival import Arrival, tell
from .hits import PASSED, Hits
from .threads import Threads, environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flask import Flask

    from shop.ops.health import Doctor
    from shop.problems import ShopError

    from .arrival import Scope

    Receive = Callable[[], Awaitable[dict[str, Any]]]

logger = logging.getLogger("shop.edge")

FAULT = "The service made an error; it is logged."
READ_METHODS = {"GET", "HEAD"}
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # that some address has


class DisconnectedError(Exception):
    """The client has gone, or was sent away, before its request was there."""


class Edge:
    """Answers what it can on the loop, and passes on the rest."""

    def __init__(self, app: Flask) -> None:
        settings = app.config["SETTINGS"]
        self._flask = app
        self._threads = Threads(settings)
        self.hits = Hits(app, self._threads)
        self._doctor: Doctor = app.extensions["shop.health"]
        self._way = way_here(settings)
        self._cross_origin = CrossOrigin(settings.cors_origins)
        self.is_leaving = False  # and so not ready for new requests

    def start(self) -> None:
        """Begin to work; call it on the loop."""
        self.hits.start()

    def stop(self) -> None:
        self.hits.stop()
        self._threads.stop()

    async def answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the answer to a request (ASGI's `scope` and `receive`).

        None where its client has gone, or was sent away, before it was there.
        """
        arrival = Arrival.of(scope, self._way)
        if arrival.path in PROBES and arrival.method in READ_METHODS:
            return self._own(arrival, await self._probe(arrival))
        if arrival.path == "*":  # OPTIONS alone has it (RFC 9110, section 9.3.7)
            answer = Answer(HTTPStatus.NO_CONTENT, [("Allow", METHODS)], b"")
            tell(arrival, answer, arrival.client)
            return self._own(arrival, answer)
        try:
            read = await self.hits.answer(arrival)
        except OverloadedError as error:
            return self._fail(arrival, error)
        except Exception:  # Flask will answer
            logger.exception("Unexpected error ahead of Flask", extra=arrival.in_log)
            read = None
        if read:
            return self._own(arrival, read)
        PASSED.inc(self.hits.are_there)
        return await self._pass_on(arrival, receive)

    def _own(self, arrival: Arrival, answer: Answer) -> Answer:
        """Return an answer that was made here with the headers of all answers."""
        headers = [*answer.headers, *answers.closing_headers(arrival.known)]
        headers = self._cross_origin.add(headers, arrival.origin)
        return Answer(answer.status, headers, answer.body)

    async def _probe(self, arrival: Arrival) -> Answer:
        health = None if arrival.path == "/livez" else await self._doctor.await_health()
        document, status = probes.told(arrival.path, health)
        if health and self.is_leaving:
            document["status"], status = "leaving", HTTPStatus.SERVICE_UNAVAILABLE
        answer = answers.private(status, orjson.dumps(document))
        tell(arrival, answer, arrival.client, arrival.path)
        return answer

    async def _pass_on(self, arrival: Arrival, receive: Receive) -> Answer | None:
        """Have Flask answer, in a thread, when the body is there."""
        try:
            self._threads.check(arrival.method)  # a body that is refused is not asked for
            body = await self._read_body(arrival, receive)
            environ = environment(arrival.scope, arrival.headers, body)
            environ[ENVIRONMENT] = arrival.known
            return await self._threads.answer(self._flask.wsgi_app, environ)
        except (OverloadedError, DatabaseBusyError) as error:
            return self._fail(arrival, error)
        except DisconnectedError:
            return None
        except Exception:
            logger.exception("Unexpected error around Flask", extra=arrival.in_log)
            return self._fail(arrival, InternalError(FAULT))

    async def _read_body(self, arrival: Arrival, receive: Receive) -> bytes:
        """Return the body; nothing of one that is longer than its route takes: Flask refuses it."""
        length = arrival.headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in arrival.headers:
            return b""
        is_short = b"transfer-encoding" not in arrival.headers and int(length) <= BODY_MAX
        longest = BODY_MAX if is_short else self._body_max(arrival)  # no route takes less
        if int(length) > longest:
            return b""
        body, more = bytearray(), True
        while more and len(body) <= longest:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            body += message["body"]
            more = message["more_body"]
        return bytes(body)

    def _body_max(self, arrival: Arrival) -> int:
        try:
            endpoint, _ = self._flask.url_map.bind("").match(arrival.path, arrival.method)
        except HTTPException:
            return BODY_MAX
        longest: int = getattr(self._flask.view_functions[endpoint], "body_max", BODY_MAX)
        return longest

    def _fail(self, arrival: Arrival, error: ShopError) -> Answer:
        """Answer with a problem of the worker's own, which Flask does not know of."""
        path = arrival.path[:PATH_SHOWN]
        answer = answers.of_error(error, path, arrival.known.identifier)
        tell(arrival, answer, arrival.client)
        return self._own(arrival, answer)
