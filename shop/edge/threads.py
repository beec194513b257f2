"""The WSGI application, in threads of a bounded number, behind a bounded queue."""

from __future__ import annotations

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from shop.answers import Answer
from shop.prometheus import Gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

WAITING = Gauge(
    "shop_requests_waiting",
    "Requests that wait for a thread of their worker.",
    multiprocess_mode="livesum",
)
OF_CONTENT = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class QueueFullError(Exception):
    """As many requests wait for a thread as may wait."""


class Threads:
    def __init__(self, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._threads, self._most = threads, threads + queue
        self._under_way = 0

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `work` returns in a thread. Raises QueueFullError."""
        if self._under_way >= self._most:
            raise QueueFullError
        self._count(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        before = max(0, self._under_way - self._threads)
        self._under_way += more
        waiting = max(0, self._under_way - self._threads)
        if waiting != before:
            WAITING.set(waiting)

    def stop(self) -> None:
        self._pool.shutdown(wait=False)


def call(application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Return what a WSGI application answers."""
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        told[:] = [status, headers]
        return body.append

    body: list[bytes] = []
    parts = application(environ, start_response)
    try:
        body.extend(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = told
    return Answer(HTTPStatus(int(status[:3])), headers, b"".join(body))


def environment(
    scope: Mapping[str, Any], headers: Mapping[bytes, bytes], body: bytes
) -> WSGIEnvironment:
    """Return the WSGI environment (PEP 3333) of a request whose body has been read."""
    server, client = scope["server"] or ("", None), scope["client"] or ("", None)
    raw_path, query = scope["raw_path"], scope["query_string"]
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": (raw_path + b"?" + query if query else raw_path).decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1] or ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        if b"_" in name or name == b"transfer-encoding":
            continue  # that of another name, as it would be read; and what has been undone
        variable = OF_CONTENT.get(name) or "HTTP_" + name.decode("latin-1").upper().replace(
            "-", "_"
        )
        environ[variable] = value.decode("latin-1")
    if b"transfer-encoding" in headers:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ
