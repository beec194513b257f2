"""Logs: one line for each event, as JSON or on a terminal as text, with the request's id."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from flask.globals import request_ctx

from shop.caller import current_caller
from shop.config import PATH_SHOWN_MAX
from shop.facts import current_facts, is_request

if TYPE_CHECKING:
    from flask import Flask, Response

access_log = logging.getLogger("shop.access")

# No line has its thread, its process or its place in the code: finding these takes longer than
# writing the line (the standard library's Logging HOWTO, "Optimization").
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # noqa: SLF001


# Machines request these every few seconds: they are not counted, and are logged at DEBUG only.
PROBES = {"/livez", "/readyz", "/health_check"}

CLOCK = "%H:%M:%S"  # of text; JSON has the date, too


def logging_config(level: str, *, terminal: bool | None = None) -> dict[str, Any]:
    """Return the configuration of all logs, for `dictConfig` and for gunicorn.

    `terminal` chooses readable text; by default, whether standard error is a terminal.
    """
    as_text = sys.stderr.isatty() if terminal is None else terminal
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request": {"()": RequestFilter}},
        "formatters": {
            "json": {
                "()": JSONFormatter,
            },
            "text": {"()": TextFormatter, "datefmt": CLOCK},
        },
        "handlers": {
            "stderr": {
                "class": "shop.logs.LineHandler",
                "formatter": "text" if as_text else "json",
                "filters": ["request"],
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "shop": {"level": level},
            "gunicorn.error": {"level": level, "handlers": ["stderr"], "propagate": False},
            "gunicorn.access": {"handlers": [], "propagate": False},
        },
    }


def dropped_line(count: int) -> str:
    """Return the log line with the number of dropped lines."""
    as_text = sys.stderr.isatty()
    formatter = TextFormatter(CLOCK) if as_text else JSONFormatter()
    message = f"Lines were dropped, because nobody read them in time: {count}"
    return formatter.format(_record(__name__, logging.WARNING, message)) + "\n"


def _record(logger: str, level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord(logger, level, __file__, 0, message, None, None)


class AnsweredRequest(NamedTuple):
    """A request and its answer, for logs and metrics."""

    method: str
    route: str | None  # None: no route has this path
    path: str
    status: int
    seconds: float  # from its arrival in the application
    cache: str | None  # outcome
    client: str
    refused_by: str | None  # names of policies
    request_id: str
    trace_id: str | None


class RequestFilter(logging.Filter):
    """Put the ids of the request and of its trace on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if is_request():
            known = current_facts()
            record.request_id = known.request_id
            if known.trace_id:
                record.trace_id = known.trace_id
        return True


class JSONFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line.

    A library for this takes twice as long, which is a large part of a cached read.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = _first_fields(record.created, record.levelname, record.name, record.getMessage())
        more = vars(record)
        for name in ("request_id", "trace_id"):
            if name in more:
                fields[name] = more[name]
        fields |= more.get("fields", {})
        if record.exc_info:
            fields["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack_info"] = record.stack_info
        return _encode(fields).decode().removesuffix("\n")


def _first_fields(created: float, level: str, logger: str, message: str) -> dict[str, Any]:
    time_ = _local_time(int(created))
    return {"time": time_, "level": level, "logger": logger, "message": message}


def _encode(fields: dict[str, Any]) -> bytes:
    """Encode a line."""
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # half of a surrogate pair, which the log has to show
        return json.dumps(fields, default=str).encode() + b"\n"


@lru_cache(maxsize=2)
def _local_time(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records, and lines that are made without a record."""

    def write_line(self, line: bytes) -> None:
        with self.lock:  # type: ignore[union-attr]
            try:
                self.stream.buffer.write(line)
                self.stream.buffer.flush()
            except Exception:  # noqa: BLE001  (as of a record)
                self.handleError(_record(access_log.name, logging.INFO, ""))


class TextFormatter(logging.Formatter):
    """`12:30:05 INFO GET /products 200 1.2 ms HIT 127.0.0.1`."""

    def __init__(self, datefmt: str) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line without newlines and escapes, which a path may have."""
        return printable(super().formatMessage(record))


def printable(text: str) -> str:
    """Return a text with codes in place of unprintable characters."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def init_app(app: Flask) -> None:
    app.before_request(_arrive)
    app.after_request(_log_access)


def _arrive() -> None:
    current_facts()  # notes the time of arrival


def _log_access(response: Response) -> Response:
    log_request(answered_request(response))
    return response


def answered_request(response: Response) -> AnsweredRequest:
    """Return the current request and its answer, for logs and metrics."""
    known, request = current_facts(), request_ctx.request
    return AnsweredRequest(
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        path=request.path[:PATH_SHOWN_MAX],
        status=response.status_code,
        seconds=time.perf_counter() - known.arrived,
        cache=known.outcome.name if known.outcome else None,
        client=current_caller().client,
        refused_by=known.refused_by,
        request_id=known.request_id,
        trace_id=known.trace_id,
    )


def log_request(request: AnsweredRequest) -> None:
    level = logging.DEBUG if request.route in PROBES else logging.INFO
    if not access_log.isEnabledFor(level):
        return
    method, route, path, status, seconds, cache, client, refused, request_id, trace_id = request
    milliseconds = round(seconds * 1000, 1)
    message = f"{method} {path} {status} {milliseconds} ms"
    message += f" {cache} {client}" if cache else f" {client}"
    if refused:
        message += f", refused by {refused}"
    fields = {
        "method": method,
        "route": route,
        "path": path,
        "status": status,
        "cache": cache,
        "client": client,
        "refused": refused,
        "request_id": request_id,
        "milliseconds": milliseconds,
    }
    if trace_id:
        fields["trace_id"] = trace_id
    if handler := _line_handler():
        first = _first_fields(time.time(), logging.getLevelName(level), access_log.name, message)
        handler.write_line(_encode({**first, **fields}))
    else:
        access_log.log(level, message, extra={"fields": fields})


def _line_handler() -> LineHandler | None:
    """Return the only handler, if it writes JSON lines and needs no record.

    Making and handling a record takes several times as long as writing the line.
    """
    found: logging.Logger | None = access_log
    handlers = []
    while found:
        handlers += found.handlers
        found = found.parent if found.propagate else None
    if len(handlers) == 1 and not access_log.filters:
        handler = handlers[0]
        if type(handler) is LineHandler and type(handler.formatter) is JSONFormatter:
            return handler
    return None
