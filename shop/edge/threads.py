"""Run the WSGI application in a bounded number of threads, behind a bounded queue."""

from __future__ import annotations

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from shop.answers import Answer
from shop.config import THREADS
from shop.prometheus import Gauge

from .thread_slots import ThreadSlots, WriteSlots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from shop.config import Settings

BUSY = Gauge("shop_threads_busy", "Threads that work on a request.", multiprocess_mode="livesum")
MAX = Gauge("shop_threads_max", "Threads of all workers.", multiprocess_mode="livesum")
METRICS = "/metrics"
SCRAPES_WAITING_MAX = 4  # of all who watch; further ones are 503
SAFE = {"GET", "HEAD", "OPTIONS"}  # methods that write nothing (RFC 9110, section 9.2.1)
BODILESS = {"204", "304"}
OF_CONTENT = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class Threads:
    """The threads of a worker. One of them is left to reads, and writes may have all others.

    `/metrics` has one more of its own: it is asked for most when all others are busy.
    """

    def __init__(self, settings: Settings) -> None:
        MAX.set(THREADS)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self.reads = ThreadSlots(THREADS, settings.request_queue)
        self._writes = WriteSlots(THREADS - 1, settings.request_queue)
        self._scrape_pool = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._scrapes = ThreadSlots(1, SCRAPES_WAITING_MAX)

    def check(self, method: str, path: str) -> None:
        """Raise OverloadedError or DatabaseBusyError if a request would be refused now."""
        self._slots(method, path).check()

    def _slots(self, method: str, path: str) -> ThreadSlots:
        if method not in SAFE:
            return self._writes
        return self._scrapes if path == METRICS else self.reads

    async def answer(self, application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
        """Return the answer of a WSGI application, which is called when a thread is free.

        Raises OverloadedError, and for a write DatabaseBusyError.
        """
        if self._slots(environ["REQUEST_METHOD"], environ["PATH_INFO"]) is self._scrapes:
            return await self._scrape(application, environ)
        if environ["REQUEST_METHOD"] in SAFE:
            return await self.read(call, application, environ)  # type: ignore[no-any-return]
        async with self._writes.slot():
            answer: Answer = await self.run(call, application, environ)
            self._writes.note(got_on=answer.status != HTTPStatus.SERVICE_UNAVAILABLE)
            return answer

    async def _scrape(self, application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
        async with self._scrapes.slot():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._scrape_pool, call, application, environ)

    async def read(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run `work`, which writes nothing, when a thread is free. Raises OverloadedError."""
        async with self.reads.slot():
            return await self.run(work, *arguments)

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run `work` at once: the caller holds a slot for it."""
        loop = asyncio.get_running_loop()
        context = copy_context()  # of the trace: an executor keeps none
        return await loop.run_in_executor(self._pool, context.run, _busy, work, *arguments)

    def stop(self) -> None:
        self._pool.shutdown(wait=False)
        self._scrape_pool.shutdown(wait=False)


def _busy(work: Callable[..., Any], *arguments: Any) -> Any:
    BUSY.inc()
    try:
        return work(*arguments)
    finally:
        BUSY.dec()


def call(application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Return the answer of a WSGI application."""
    head: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        head[:] = [status, headers]
        return body.append

    body: list[bytes] = []
    parts = application(environ, start_response)
    try:
        body.extend(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = head
    has_body = environ["REQUEST_METHOD"] != "HEAD" and status[:3] not in BODILESS
    if has_body and not any(name.lower() == "content-length" for name, _ in headers):
        headers.append(("Content-Length", str(sum(map(len, body)))))
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
        if b"_" in name or name in {b"transfer-encoding", b"upgrade"}:
            continue  # `_` would be read as `-`; the other two are not for Flask
        variable = OF_CONTENT.get(name) or "HTTP_" + name.decode("latin-1").upper().replace(
            "-", "_"
        )
        environ[variable] = value.decode("latin-1")
    if b"transfer-encoding" in headers:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ
