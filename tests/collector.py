"""A collector of traces that keeps what it gets, or hangs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Received(NamedTuple):
    """A span, with what its conventions are about."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]


class Collector:
    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []  # paths, headers, bodies
        self.takes = threading.Event()  # otherwise it hangs
        self.takes.set()

    def spans(self) -> list[Received]:
        return [
            _received(span)
            for _, _, body in list(self.requests)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, Any]:
        """Return what the service says about itself."""
        [resource, *_] = ExportTraceServiceRequest.FromString(self.requests[0][2]).resource_spans
        return _values(resource.resource.attributes)


@contextmanager
def a_collector(port: int = 0) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests.append((self.path, dict(self.headers), body))
            collector.takes.wait()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Print nothing: a service that ends waits for no answer."""

    collector = Collector(Server(("127.0.0.1", port), Handler))
    serving = threading.Thread(target=collector.server.serve_forever, daemon=True)
    serving.start()
    try:
        yield collector
    finally:
        collector.takes.set()
        collector.server.shutdown()
        collector.server.server_close()
        serving.join()


def _received(span: Span) -> Received:
    return Received(
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.status.code == span.status.STATUS_CODE_ERROR,
        _values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
