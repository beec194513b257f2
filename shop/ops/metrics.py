"""Metrics for Prometheus, of all workers together.

Workers share their counts in files under PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py makes
before this module is imported.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.exc import SQLAlchemyError

from shop.cache.metrics import OUTBOX
from shop.extensions import cache as documents
from shop.extensions import limiter
from shop.logs import Answered, answered
from shop.orders import expiry
from shop.orders.metrics import OVERDUE
from shop.prometheus import Counter, Histogram

if TYPE_CHECKING:
    from flask import Flask

REQUESTS = Counter("shop_http_requests", "Requests answered.", ["method", "route", "status"])
LATENCY = Histogram(
    "shop_http_request_seconds",
    "Time from a request's arrival in the application to its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
blueprint = Blueprint("metrics", __name__)


def init_app(app: Flask) -> None:
    app.after_request(_count)
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
@limiter.exempt
def metrics() -> Response:
    """Answer with all metrics in Prometheus' text format."""
    with suppress(SQLAlchemyError):  # then it is not known, and stays what it was
        OUTBOX.set(len(documents.outbox))
        OVERDUE.set(expiry.overdue())
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _count(response: Response) -> Response:
    count_request(answered(response))
    return response


def count_request(request: Answered) -> None:
    method = request.method if request.method in METHODS else "other"
    requests, latency = _of(method, request.route or "unmatched", request.status)
    requests.inc()
    latency.observe(request.seconds)


@cache
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), LATENCY.labels(method, route)


METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
