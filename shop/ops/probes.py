"""The probes of load balancers, containers and monitoring, which ask every few seconds.

A probe identifies no caller and charges nothing. `/livez` needs neither the database nor Redis,
whatever credential is sent with it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app, request

from shop.console.health import HealthMonitor, health_monitor
from shop.extensions import limiter
from shop.version import VERSION

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

    from shop.console.health import Health

    Answer = tuple[dict[str, Any], int, dict[str, str]]

blueprint = Blueprint("probes", __name__)
MACHINE_BLUEPRINTS = {blueprint.name, "metrics"}
NO_STORE = {"Cache-Control": "no-store"}


def init_app(app: Flask) -> None:
    """Call this before the modules that identify callers and charge them."""
    app.extensions["shop.health"] = HealthMonitor(app)
    app.register_blueprint(blueprint)
    app.before_request(_answer)


def _answer() -> ResponseReturnValue | None:
    if (request.endpoint or "").partition(".")[0] in MACHINE_BLUEPRINTS:
        return current_app.dispatch_request()
    return None


def probe_document(path: str, found: Health | None) -> tuple[dict[str, Any], HTTPStatus]:
    """Return the document and the status of a probe; `found` is None for `/livez`."""
    if found is None:
        return {"status": "ok"}, HTTPStatus.OK
    status = HTTPStatus.OK if found.can_serve else HTTPStatus.SERVICE_UNAVAILABLE
    if path == "/readyz":
        return {"status": "ok" if found.can_serve else "unavailable"}, status
    document: dict[str, str | int] = {
        "status": "ok" if found.is_healthy else "degraded",
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
    return (*probe_document("/readyz", health_monitor().health()), NO_STORE)


@blueprint.get("/health_check")
@limiter.exempt
def health_check() -> Answer:
    """Answer 200 while the database answers, else 503; `degraded` where it or Redis is not well."""
    return (*probe_document("/health_check", health_monitor().health()), NO_STORE)
