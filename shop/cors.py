"""CORS: which pages of other origins a browser lets read the answers (the Fetch standard).

A wrapper of the WSGI application, outside the edge, so that an answer has the headers whatever
made it: the edge, Flask, or a fault in Flask. There is no wrapper while `CORS_ORIGINS` is empty.

No cookie says who is calling, so `Access-Control-Allow-Credentials` is never sent: a page sends
its token itself, in `Authorization`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import PREFLIGHT_SECONDS
from .openapi.headers import HEADERS, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH
from .origins import EVERY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask

    Headers = list[tuple[str, str]]

# What every page may read of every answer (the Fetch standard, "CORS-safelisted response-header
# name").
SAFELISTED = {"Cache-Control"}
EXPOSED = ", ".join(name for name in (*HEADERS, "Allow") if name not in SAFELISTED)
SENT = ", ".join(
    ["Authorization", "Content-Type", "X-Request-ID"]
    + [header["name"] for header in (IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH)]
)


def init_app(app: Flask) -> None:
    """Put the wrapper in front of all others."""
    if origins := app.config["SETTINGS"].cors_origins:
        app.wsgi_app = CrossOrigin(app, origins)  # type: ignore[method-assign]


class CrossOrigin:
    """Adds to every answer what lets the pages of some origins read it."""

    def __init__(self, app: Flask, origins: tuple[str, ...]) -> None:
        self._wrapped = app.wsgi_app
        # What is answered is a setting, and never what the request has sent.
        self._allowed = {origin: _allowing(origin) for origin in origins}
        # A constant, for requests without an origin too: so caches need not tell them apart.
        self._others = self._allowed.get(EVERY, [])
        self._varies = EVERY not in origins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        allowing = self._allowed.get(environ.get("HTTP_ORIGIN", ""), self._others)

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            headers = _varying(headers) if self._varies else headers
            return start_response(status, headers + allowing, exc_info)

        return self._wrapped(environ, start)


def _allowing(origin: str) -> Headers:
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", EXPOSED),
    ]


def _varying(headers: Headers) -> Headers:
    """Return the headers with `Vary: Origin`, in one line with what else the answer varies by."""
    fields = [value for name, value in headers if name == "Vary"]
    if fields:
        headers = [header for header in headers if header[0] != "Vary"]
    return [*headers, ("Vary", ", ".join([*fields, "Origin"]))]


def allows(origins: tuple[str, ...], origin: str | None) -> bool:
    return EVERY in origins or origin in origins


def preflight_headers(methods: str) -> Headers:
    """Return what a page may send, besides what every answer has."""
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", SENT),
        ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
    ]
