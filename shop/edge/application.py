"""The edge: answer cached reads on the loop, and everything else by Flask, in threads."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from werkzeug.exceptions import HTTPException

from shop import answers
from shop.answers import Answer
from shop.client_address import network_path
from shop.config import BODY_MAX, PATH_SHOWN_MAX
from shop.cors import CrossOrigin
from shop.facts import ENVIRON_KEY
from shop.logs import PROBES
from shop.ops import probes
from shop.problems import DatabaseBusyError, InternalError, OverloadedError

from .hits import PASSED, Hits
from .incoming_request import report_answer
from .threads import Threads, environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flask import Flask

    from shop.console.health import HealthMonitor
    from shop.problems import ShopError

    from .incoming_request import IncomingRequest

    Receive = Callable[[], Awaitable[dict[str, Any]]]

logger = logging.getLogger("shop.edge")

FAULT = "The service made an error; it is logged."
READ_METHODS = {"GET", "HEAD"}
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # of all routes together


class DisconnectedError(Exception):
    """The client disconnected, or was disconnected, before its request was complete."""


class Edge:
    """Answers probes and cached reads on the loop, and passes all other requests on to Flask."""

    def __init__(self, app: Flask) -> None:
        settings = app.config["SETTINGS"]
        self._flask = app
        self._threads = Threads(settings)
        self.hits = Hits(app, self._threads)
        self._health_monitor: HealthMonitor = app.extensions["shop.health"]
        self.network = network_path(settings)
        self._cross_origin = CrossOrigin(settings.cors_origins)
        self.is_leaving = False  # then the worker is not ready for new requests

    def start(self) -> None:
        """Begin to work; call it on the loop."""
        self.hits.start()

    def stop(self) -> None:
        self.hits.stop()
        self._threads.stop()

    async def answer(self, incoming: IncomingRequest, receive: Receive) -> Answer | None:
        """Return the answer to a request, whose body comes by ASGI's `receive`.

        Return None if the connection ended before the request was complete.
        """
        if incoming.path in PROBES and incoming.method in READ_METHODS:
            return self._own(incoming, await self._probe(incoming))
        if incoming.path == "*":  # OPTIONS alone has it (RFC 9110, section 9.3.7)
            answer = Answer(HTTPStatus.NO_CONTENT, [("Allow", METHODS)], b"")
            report_answer(incoming, answer, incoming.client)
            return self._own(incoming, answer)
        try:
            read = await self.hits.answer(incoming)
        except OverloadedError as error:
            return self._fail(incoming, error)
        except Exception:  # Flask will answer
            logger.exception("Unexpected error ahead of Flask", extra=incoming.in_log)
            read = None
        if read:
            return self._own(incoming, read)
        PASSED.inc(self.hits.is_enabled)
        return await self._pass_on(incoming, receive)

    def _own(self, incoming: IncomingRequest, answer: Answer) -> Answer:
        """Add the headers that every answer has to an answer of the loop."""
        headers = [*answer.headers, *answers.closing_headers(incoming.facts)]
        headers = self._cross_origin.add(headers, incoming.origin)
        return Answer(answer.status, headers, answer.body)

    async def _probe(self, incoming: IncomingRequest) -> Answer:
        health = None if incoming.path == "/livez" else await self._health_monitor.await_health()
        document, status = probes.probe_document(incoming.path, health)
        if health and self.is_leaving:
            document["status"], status = "leaving", HTTPStatus.SERVICE_UNAVAILABLE
        answer = answers.private(status, orjson.dumps(document))
        report_answer(incoming, answer, incoming.client, incoming.path)
        return answer

    async def _pass_on(self, incoming: IncomingRequest, receive: Receive) -> Answer | None:
        """Read the body, then let Flask answer in a thread."""
        try:
            self._threads.check(incoming.method, incoming.path)  # before the body is asked for
            body = await self._read_body(incoming, receive)
            environ = environment(incoming.scope, incoming.headers, body)
            environ[ENVIRON_KEY] = incoming.facts
            return await self._threads.answer(self._flask.wsgi_app, environ)
        except (OverloadedError, DatabaseBusyError) as error:
            return self._fail(incoming, error)
        except DisconnectedError:
            return None
        except Exception:
            logger.exception("Unexpected error around Flask", extra=incoming.in_log)
            return self._fail(incoming, InternalError(FAULT))

    async def _read_body(self, incoming: IncomingRequest, receive: Receive) -> bytes:
        """Return the body; empty if it is longer than its route takes: Flask refuses it then."""
        length = incoming.headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in incoming.headers:
            return b""
        is_short = b"transfer-encoding" not in incoming.headers and int(length) <= BODY_MAX
        longest = BODY_MAX if is_short else self._body_max(incoming)  # no route takes less
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

    def _body_max(self, incoming: IncomingRequest) -> int:
        try:
            endpoint, _ = self._flask.url_map.bind("").match(incoming.path, incoming.method)
        except HTTPException:
            return BODY_MAX
        longest: int = getattr(self._flask.view_functions[endpoint], "body_max", BODY_MAX)
        return longest

    def _fail(self, incoming: IncomingRequest, error: ShopError) -> Answer:
        """Answer with a problem that the worker found, without Flask."""
        path = incoming.path[:PATH_SHOWN_MAX]
        answer = answers.for_error(error, path, incoming.facts.request_id)
        report_answer(incoming, answer, incoming.client)
        return self._own(incoming, answer)
