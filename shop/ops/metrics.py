"""`/metrics`: metrics of all workers together, for Prometheus.

Workers share their counts in files under PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py makes
before it imports this module.
"""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from shop import exemplars, shared_counts
from shop.cache.metrics import OUTBOX, OUTBOX_AGE
from shop.config import current_settings
from shop.console import notable
from shop.console.health import health_monitor
from shop.extensions import cache as documents
from shop.extensions import limiter
from shop.facts import bearer_token
from shop.logs import PROBES, AnsweredRequest, answered_request
from shop.orders import expiry
from shop.orders.metrics import OVERDUE
from shop.problems import MetricsTokenRequiredError
from shop.prometheus import Counter, Histogram

from .processes import ProcessesCollector
from .scraped import ServiceCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from prometheus_client.metrics_core import Metric

REQUESTS = Counter("shop_http_requests", "Requests answered.", ["method", "route", "status"])
LATENCY = Histogram(
    "shop_http_request_seconds",
    "Time from a request's arrival in the application to its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
OPENMETRICS = "application/openmetrics-text"
EXEMPLAR_SECONDS = 0.1  # a request that takes so long can be an exemplar
blueprint = Blueprint("metrics", __name__)


def init_app(app: Flask) -> None:
    """Register `/metrics` if there is a token, or if it is open to everybody."""
    app.after_request(_count)
    settings = app.config["SETTINGS"]
    if settings.metrics_token or settings.metrics_open:
        app.register_blueprint(blueprint)


@blueprint.get("/metrics")
@limiter.exempt
def metrics() -> Response:
    """Answer with all metrics in Prometheus' text format, or in OpenMetrics for who accepts it."""
    if token := current_settings().metrics_token:
        _require(token)
    if health_monitor().health().can_serve:  # nobody waits for a database that hangs
        _update_gauges()
    registry = _registry()
    if _accepts_openmetrics():
        text = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        answer = Response(text, content_type=openmetrics.CONTENT_TYPE_LATEST)
    else:
        answer = Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    answer.vary.add("Accept")
    return answer


def _registry() -> CollectorRegistry:
    """Return what is counted, and what is read now."""
    shared = shared_counts.registry() if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else None
    found = CollectorRegistry()
    found.register(_Counted(shared or REGISTRY))
    found.register(ServiceCollector())
    if shared:  # the library's own registry has the numbers of this process
        found.register(ProcessesCollector())
    return found


class _Counted(Collector):
    """Collects all that was counted, with exemplars."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        return exemplars.attach(self._registry.collect())


def _accepts_openmetrics() -> bool:
    return any(
        quality > 0 and media_type.partition(";")[0].strip() == OPENMETRICS
        for media_type, quality in request.accept_mimetypes
    )


def _update_gauges() -> None:
    with suppress(SQLAlchemyError):  # then the gauges keep their values
        names, age = documents.outbox.length_and_age()
        OUTBOX.set(names)
        OUTBOX_AGE.set(age)
        OVERDUE.set(expiry.count_overdue())


def _require(token: str) -> None:
    """Refuse a caller without the token, in a time that tells nothing about the token."""
    sent = bearer_token(request.headers.get("Authorization", ""))
    if not hmac.compare_digest(sent.encode("latin-1", "replace"), token.encode()):
        raise MetricsTokenRequiredError("Send METRICS_TOKEN: Authorization: Bearer TOKEN.")


def _count(response: Response) -> Response:
    count_request(answered_request(response))
    return response


def count_request(one: AnsweredRequest) -> None:
    if one.route in PROBES:
        return
    method = one.method if one.method in METHODS else "other"
    requests, latency = _labelled(method, one.route or "unmatched", one.status)
    requests.inc()
    latency.observe(one.seconds)
    if one.seconds >= EXEMPLAR_SECONDS:
        latency.keep_exemplar(one.seconds, one.request_id)
    notable.note(one)


@cache
def _labelled(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), LATENCY.labels(method, route)


METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
