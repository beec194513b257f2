"""CORS: the headers that let pages of other origins read answers in a browser (Fetch standard).

A wrapper of the WSGI application adds them to every answer, also to a fault in Flask. The event
loop adds them to its own answers. Without `CORS_ORIGINS` nothing is added.

No cookie says who is calling, so `Access-Control-Allow-Credentials` is never sent: a page sends
its token itself, in `Authorization`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import PREFLIGHT_SECONDS
from .openapi.headers import HEADERS, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH
from .origins import ANY_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask

    Headers = list[tuple[str, str]]

# Every page may read these headers of every answer (the Fetch standard, "CORS-safelisted
# response-header name").
SAFELISTED = {"Cache-Control"}
EXPOSED_HEADERS = ", ".join(name for name in (*HEADERS, "Allow") if name not in SAFELISTED)
REQUEST_HEADERS = ", ".join(
    ["Authorization", "Content-Type", "X-Request-ID"]
    + [header["name"] for header in (IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH)]
)


def init_app(app: Flask) -> None:
    """Put the wrapper in front of Flask."""
    if origins := app.config["SETTINGS"].cors_origins:
        app.wsgi_app = _Wrapper(app, CrossOrigin(origins))  # type: ignore[method-assign]


class CrossOrigin:
    """Adds the headers that let pages of the allowed origins read an answer."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        # The answer names an origin of the settings, and never the text that the request has sent.
        self._allowed = {origin: _allow_headers(origin) for origin in origins}
        # For `*` the header is a constant, also without an origin, so that caches need not vary.
        self._others = self._allowed.get(ANY_ORIGIN, [])
        self._varies = bool(origins) and ANY_ORIGIN not in origins

    def add(self, headers: Headers, origin: str) -> Headers:
        """Return the headers of an answer to a page of this origin, which may be empty."""
        headers = _with_vary(headers) if self._varies else headers
        return headers + self._allowed.get(origin, self._others)


class _Wrapper:
    def __init__(self, app: Flask, cross_origin: CrossOrigin) -> None:
        self._wrapped = app.wsgi_app
        self._cross_origin = cross_origin

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            return start_response(status, self._cross_origin.add(headers, origin), exc_info)

        return self._wrapped(environ, start)


def _allow_headers(origin: str) -> Headers:
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
    ]


def _with_vary(headers: Headers) -> Headers:
    """Return the headers with `Origin` added to `Vary`."""
    fields = [value for name, value in headers if name == "Vary"]
    if fields:
        headers = [header for header in headers if header[0] != "Vary"]
    return [*headers, ("Vary", ", ".join([*fields, "Origin"]))]


def allows_origin(origins: tuple[str, ...], origin: str | None) -> bool:
    return ANY_ORIGIN in origins or origin in origins


def preflight_headers(methods: str) -> Headers:
    """Return the headers of a preflight's answer: the methods and headers that a page may send."""
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", REQUEST_HEADERS),
        ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
    ]
