"""Answer OPTIONS before keys and limits, without the database and Redis.

A browser sends OPTIONS by itself before a page's request, for each URL. A charge for OPTIONS would
spend a page's quota twice as fast. A refusal of OPTIONS would hide from the page that its quota is
spent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Response, current_app, request

from .config import current_settings
from .cors import allows_origin, preflight_headers

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    """Call this before the modules that identify callers and charge them."""
    app.before_request(_answer_options)


def _answer_options() -> Response | None:
    """Answer 204 with the methods of the URL, and a preflight also with the CORS headers."""
    if request.method != "OPTIONS":
        return None
    origins = current_settings().cors_origins
    requested_method = request.headers.get("Access-Control-Request-Method")
    preflight = requested_method is not None and allows_origin(
        origins, request.headers.get("Origin")
    )
    if request.routing_exception and not preflight:
        raise request.routing_exception
    response = Response(status=HTTPStatus.NO_CONTENT)
    del response.headers["Content-Type"]
    methods = _methods()
    if methods:
        response.headers["Allow"] = methods
    if origins:
        response.headers["Vary"] = "Access-Control-Request-Method"
    if preflight:
        # A page may send any method to an unknown URL, so that it can read the 404.
        response.headers.extend(preflight_headers(methods or _all_methods()))
    return response


def _methods() -> str:
    """Return the methods of the requested URL; empty if the URL is unknown."""
    return ", ".join(sorted(current_app.make_default_options_response().allow))


def _all_methods() -> str:
    rules = current_app.url_map.iter_rules()
    return ", ".join(sorted({method for rule in rules for method in rule.methods or ()}))
