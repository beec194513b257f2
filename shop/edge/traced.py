"""The edge with traces: a span for each request, whoever answers it.

The span follows OpenTelemetry's conventions for HTTP servers, and continues the trace of the
client's `traceparent` (W3C Trace Context). It has no query, no client address and no header.
"""

from __future__ import annotations

from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.exceptions import HTTPException

from shop.logs import PROBES
from shop.redis import redis_connection
from shop.tracing import Collector, current, trace_flask, trace_redis, tracer

from .application import Edge

if TYPE_CHECKING:
    from flask import Flask
    from opentelemetry.trace import Span

    from shop.answers import Answer

    from .incoming_request import IncomingRequest

METHODS = frozenset(HTTPMethod)
FIRST_SERVER_ERROR = 500
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
        if span.is_recording():
            incoming.facts.trace_id = format_trace_id(span.get_span_context().trace_id)
        with current(span):
            answer = await super().answer(incoming, receive)
            if span.is_recording():
                self._describe(span, method, incoming, answer)
        return answer

    def _describe(
        self, span: Span, method: str, incoming: IncomingRequest, answer: Answer | None
    ) -> None:
        facts = incoming.facts
        span.set_attribute("shop.request_id", facts.request_id)
        if route := self._route(incoming):  # any other path may be anything
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("url.path", incoming.path)
        if facts.outcome:
            span.set_attribute("shop.cache", facts.outcome.name)
        if answer is None:  # the client is gone
            return
        span.set_attribute("http.response.status_code", int(answer.status))
        if answer.status >= FIRST_SERVER_ERROR:
            span.set_attribute("error.type", str(int(answer.status)))
            span.set_status(Status(StatusCode.ERROR))

    def _route(self, incoming: IncomingRequest) -> str | None:
        router = self._flask.url_map.bind("")
        try:
            rule, _ = router.match(incoming.path, incoming.method, return_rule=True)
        except HTTPException:
            return None
        return rule.rule


def _parent(incoming: IncomingRequest) -> Any:
    """Return the context of the span that the client names; without one, an empty context."""
    sent = incoming.headers.get(b"traceparent", b"").decode("latin-1")
    return propagator.extract({"traceparent": sent})
