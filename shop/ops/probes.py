"""The probes of load balancers, containers and monitoring, which ask every few seconds.

A probe is no client's request: no caller is identified, nothing is charged, and `/livez` needs
neither the database nor Redis, whatever is sent with it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app, request

from shop.extensions import limiter
from shop.version import VERSION

from .health import Doctor, doctor

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

    from .health import Health

    Answer = tuple[dict[str, Any], int, dict[str, str]]

blueprint = Blueprint("probes", __name__)
ASKED_BY_MACHINES = {blueprint.name, "metrics"}
NO_STORE = {"Cache-Control": "no-store"}


def init_app(app: Flask) -> None:
    """Call it ahead of what identifies callers and charges them."""
    app.extensions["shop.health"] = Doctor(app)
    app.register_blueprint(blueprint)
    app.before_request(_answer)


def _answer() -> ResponseReturnValue | None:
    if (request.endpoint or "").partition(".")[0] in ASKED_BY_MACHINES:
        return current_app.dispatch_request()
    return None


def probe_document(path: str, found: Health | None) -> tuple[dict[str, Any], HTTPStatus]:
    """Return the document and the status of a probe; `found` is None for `/livez`."""
    if found is None:
        return {"status": "ok"}, HTTPStatus.OK
    status = HTTPStatus.OK if found.serves else HTTPStatus.SERVICE_UNAVAILABLE
    if path == "/readyz":
        return {"status": "ok" if found.serves else "unavailable"}, status
    document: dict[str, str | int] = {
        "status": "ok" if found.is_whole else "degraded",
        "database": found.database,
        "redis": found.redis,
        "version": VERSION,
    }
    if found.silent_sentinels is not None:
        document["sentinels_unreachable"] = found.silent_sentinels
    return document, status


@blueprint.get("/livez")
@limiter.exempt
def livez() -> Answer:
    """Answer 200: this process answers."""
    return (*probe_document("/livez", None), NO_STORE)


@blueprint.get("/readyz")
@limiter.exempt
def readyz() -> Answer:
    """Answer 200 if requests can be served, else 503."""
    return (*probe_document("/readyz", doctor().health()), NO_STORE)


@blueprint.get("/health_check")
@limiter.exempt
def health_check() -> Answer:
    """Answer 200 while the database answers, else 503; `degraded` where it or Redis is not well."""
    return (*probe_document("/health_check", doctor().health()), NO_STORE)
