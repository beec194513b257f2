"""The edge with traces: a span for each request, whoever answers it.

The span follows OpenTelemetry's conventions for HTTP servers, and continues the trace of the
client's `traceparent` (W3C Trace Context). It has no query, no client address and no header.
"""

from __future__ import annotations

from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.exceptions import HTTPException

from shop.logs import PROBES
from shop.redis import redis_connection
from shop.tracing import Collector, current, trace_flask, trace_redis, tracer

from .application import Edge

if TYPE_CHECKING:
    from flask import Flask
    from opentelemetry.util.types import AttributeValue

    from shop.answers import Answer

    from .incoming_request import IncomingRequest

    Attributes = dict[str, AttributeValue]

METHODS = frozenset(HTTPMethod)
FIRST_SERVER_ERROR = 500
NO_PARENT = Context()
propagator = TraceContextTextMapPropagator()


class TracedEdge(Edge):
    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._collector = Collector(app.config["SETTINGS"].traces)
        trace_flask(app)
        trace_redis(redis_connection(app))

    def stop(self) -> None:
        super().stop()
        self._collector.flush()

    async def answer(self, incoming: IncomingRequest, receive: Any) -> Answer | None:
        """Answer as `Edge` does, within a span; probes have none."""
        if incoming.path in PROBES:
            return await super().answer(incoming, receive)
        method = incoming.method if incoming.method in METHODS else "_OTHER"
        span = tracer.start_span(
            method,
            _parent(incoming),
            SpanKind.SERVER,
            {"http.request.method": method, "url.scheme": incoming.scope["scheme"]},
        )
        if not span.is_recording():
            return await super().answer(incoming, receive)
        incoming.facts.trace_id = format_trace_id(span.get_span_context().trace_id)
        with current(span):
            answer = await super().answer(incoming, receive)
            if route := self._route(incoming):
                span.update_name(f"{method} {route}")
            span.set_attributes(_described(incoming, route, answer))
            if answer and answer.status >= FIRST_SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
        return answer

    def _route(self, incoming: IncomingRequest) -> str | None:
        router = self._flask.url_map.bind("")
        try:
            rule, _ = router.match(incoming.path, incoming.method, return_rule=True)
        except HTTPException:
            return None
        return rule.rule


def _described(incoming: IncomingRequest, route: str | None, answer: Answer | None) -> Attributes:
    """Return what a span tells of a request. A path without a route may be anything."""
    facts = incoming.facts
    told: Attributes = {"shop.request_id": facts.request_id}
    if route:
        told |= {"http.route": route, "url.path": incoming.path}
    if facts.outcome:
        told["shop.cache"] = facts.outcome.name
    if answer:  # the client is there
        told["http.response.status_code"] = int(answer.status)
        if answer.status >= FIRST_SERVER_ERROR:
            told["error.type"] = str(int(answer.status))
    return told


def _parent(incoming: IncomingRequest) -> Context:
    """Return a context with the span that the client names, or without one."""
    if sent := incoming.headers.get(b"traceparent"):
        return propagator.extract({"traceparent": sent.decode("latin-1")})
    return NO_PARENT
