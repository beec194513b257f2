"""The collector of traces: spans are sent to it by a thread, and no request waits for it."""

from __future__ import annotations

import logging
import os
from threading import Thread
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from shop.log_throttle import once_a_minute
from shop.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("shop.tracing")

FLUSH_SECONDS = 1.5  # that a worker which ends waits for the collector
SERVICE = "shop"


class Collector:
    def __init__(self, variables: Mapping[str, str]) -> None:
        """`variables`: OpenTelemetry's, in place of those in the environment."""
        empty = [name for name, value in os.environ.items() if _is_of_traces(name) and not value]
        for name in empty:  # counts as not set
            del os.environ[name]
        os.environ.update(variables)
        _report_errors()
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(self._provider)

    def flush(self) -> None:
        """Send the spans that are left, as far as the collector takes them in time."""
        ending = Thread(target=self._provider.shutdown, name="trace-flush", daemon=True)
        ending.start()
        ending.join(FLUSH_SECONDS)


def _is_of_traces(name: str) -> bool:
    return name.startswith("OTEL_")


def _resource() -> Resource:
    given = Resource.create({"service.version": VERSION})
    if str(given.attributes["service.name"]).startswith("unknown_service"):
        return given.merge(Resource({"service.name": SERVICE}))
    return given


def _report_errors() -> None:
    logs = logging.getLogger("opentelemetry")
    logs.propagate = False
    logs.handlers = [ErrorReport()]


class ErrorReport(logging.Handler):
    """Logs what OpenTelemetry logs once a minute, without texts that may have a token or an URL."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and once_a_minute(f"traces {record.name}"):
            logger.warning("Traces are incomplete: %s", _safe_text(record))


def _safe_text(record: logging.LogRecord) -> str:
    """Return the message with numbers and the names of errors, and without other values."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return record.msg % tuple(map(_safe_value, arguments)) if arguments else str(record.msg)


def _safe_value(value: object) -> object:
    if isinstance(value, int | float):
        return value
    return type(value).__name__ if isinstance(value, Exception) else "..."
