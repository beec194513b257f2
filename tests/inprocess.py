"""An application as a worker serves it, the edge ahead of Flask, within the process of a test."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask.testing import FlaskClient
from werkzeug.test import run_wsgi_app

from shop.edge import Edge
from shop.edge.incoming_request import IncomingRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask

SECONDS = 120  # that an answer may take

_serving = threading.Lock()


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that runs in a thread, for all applications of this process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="edge", daemon=True).start()
    return loop


class Served:
    """The parts of a worker but for the sockets of clients: a WSGI application for a client."""

    def __init__(self, app: Flask) -> None:
        app.extensions["served"] = self
        self.edge = Edge(app)
        event_loop().call_soon_threadsafe(self.edge.start)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        async def receive() -> dict[str, Any]:
            body = environ["wsgi.input"].read()
            return {"type": "http.request", "body": body, "more_body": False}

        answering = self._answer(_scope(environ), receive)
        answer = asyncio.run_coroutine_threadsafe(answering, event_loop()).result(SECONDS)
        assert answer is not None
        status = HTTPStatus(answer.status)
        start_response(f"{status.value} {status.phrase}", answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    async def _answer(self, scope: dict[str, Any], receive: Any) -> Any:
        """Answer when the loop has its connection to Redis, or Redis is away.

        Only the loop may look: it closes a connection that leads to a former master.
        """
        while self.edge.hits.is_opening:  # noqa: ASYNC110  (nothing tells that Redis is away)
            await asyncio.sleep(0.001)
        return await self.edge.answer(IncomingRequest.of(scope, self.edge.network), receive)


def stop(app: Flask) -> None:
    """End what an application does on the loop."""
    if served := app.extensions.get("served"):
        event_loop().call_soon_threadsafe(served.edge.stop)


def _served(app: Flask) -> Served:
    with _serving:
        served: Served = app.extensions.get("served") or Served(app)
    return served


class Client(FlaskClient):
    """A client of the application as it is served."""

    def run_wsgi_app(self, environ: WSGIEnvironment, buffered: bool = False) -> Any:  # noqa: FBT001, FBT002
        self._add_cookies_to_wsgi(environ)
        answer = run_wsgi_app(_served(self.application), environ, buffered=buffered)
        self._update_cookies_from_response(
            environ["SERVER_NAME"],
            environ.get("SCRIPT_NAME", "") or "/",
            answer[2].getlist("Set-Cookie"),
        )
        return answer


def _scope(environ: WSGIEnvironment) -> dict[str, Any]:
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower().encode(), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value)
    ]
    raw_path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/:@!$&'()*+,;=~").encode()
    return {
        "type": "http",
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": "http",
        "path": environ["PATH_INFO"],
        "raw_path": raw_path,
        "query_string": environ["QUERY_STRING"].encode("latin-1"),
        "headers": headers,
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
        "client": (environ.get("REMOTE_ADDR", ""), 50_000),
    }
