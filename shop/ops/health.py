"""Whether the service can answer: for load balancers and containers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shop.extensions import db, limiter
from shop.redis import RedisUnavailable, redis_connection
from shop.version import VERSION

blueprint = Blueprint("health", __name__)


@blueprint.get("/health_check")
@limiter.exempt
def health_check() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Answer 200 while the database answers; `degraded` without Redis; else 503."""
    database, redis = _database(), _redis()
    healthy = database == "ok" and redis in {"ok", "disabled"}
    document = {
        "status": "ok" if healthy else "degraded",
        "database": database,
        "redis": redis,
        "version": VERSION,
    }
    status = HTTPStatus.OK if database == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return document, status, {"Cache-Control": "no-store"}


def _database() -> str:
    try:
        db.session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return "unreachable"
    return "ok"


def _redis() -> str:
    connection = redis_connection()
    if not connection.enabled:
        return "disabled"
    try:
        connection.call(lambda client: client.ping())
    except RedisUnavailable:
        return "unreachable"
    return "ok"
