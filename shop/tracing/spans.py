"""The spans of what a request does: its calls of Redis, its statements, and its time in Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from sqlalchemy import event
from sqlalchemy.engine import Engine

from shop.database.failures import sqlstate
from shop.redis import CountedCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask
    from opentelemetry.trace import Span
    from sqlalchemy.engine import Connection, ExceptionContext

    from shop.redis import RedisConnection
    from shop.redis.connection import OnError

tracer = trace.get_tracer("shop")

REDIS = {"db.system.name": "redis"}

STATEMENT_MAX = 2000  # characters
CONTEXT = 4  # the place of the context among the arguments of a listener


def start_child(
    name: str, kind: SpanKind = SpanKind.CLIENT, attributes: Mapping[str, str] | None = None
) -> Span | None:
    """Start a span below the current one; None if there is none, or its trace is not recorded."""
    if not trace.get_current_span().is_recording():
        return None
    return tracer.start_span(name, kind=kind, attributes=attributes)


def current(span: Span) -> AbstractContextManager[Span]:
    """Make a span the current one in the block, and end it there; texts of errors are nobody's."""
    return trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    )


def end(span: Span, error: str | None = None) -> None:
    """End a span, with the name of the error that ended it."""
    if error:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


# Redis.


class TracedCall(CountedCall):
    __slots__ = ("_span",)

    def __init__(self, fail: OnError) -> None:
        super().__init__(fail)
        self._span = start_child("redis", attributes=REDIS)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._span:
            end(self._span, type(error).__name__ if error else None)
        super().__exit__(kind, error, traceback)


def trace_redis(connection: RedisConnection) -> None:
    connection.make_counted = TracedCall


# PostgreSQL. A statement has placeholders in the place of its values.


@event.listens_for(Engine, "before_cursor_execute")
def _begin(
    connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
) -> None:
    if span := start_child(statement.split(maxsplit=1)[0]):
        span.set_attribute("db.system.name", "postgresql")
        span.set_attribute("db.namespace", connection.engine.url.database or "")
        span.set_attribute("db.query.text", statement[:STATEMENT_MAX])
        context.shop_span = span


@event.listens_for(Engine, "after_cursor_execute")
def _end(*execution: Any) -> None:
    _end_statement(execution[CONTEXT])


@event.listens_for(Engine, "handle_error")
def _fail(context: ExceptionContext) -> None:
    error = context.original_exception
    _end_statement(context.execution_context, sqlstate(error) or type(error).__name__)


def _end_statement(context: Any, error: str | None = None) -> None:
    if span := getattr(context, "shop_span", None):
        context.shop_span = None
        end(span, error)


# Flask.


def trace_flask(app: Flask) -> None:
    """Make a span of the time in Flask: what is before it in a trace, is waiting for a thread."""
    application = app.wsgi_app

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        span = start_child("flask", SpanKind.INTERNAL)
        if span is None:
            return application(environ, start_response)
        with current(span):
            return application(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]
