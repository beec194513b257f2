"""The start and the end of workers, under a steady load and with requests under way."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2
import pytest
from conftest import ADMIN_KEY, ROOT, await_true, waits_for_a_lock
from load import READERS, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Service, Shop

    from dev.embedded.servers import Postgres

    Serve = Callable[..., Service]

ONE = {"WEB_CONCURRENCY": "1"}
DRAIN = {"DRAIN_SECONDS": "2"}  # as without the setting
AT_ONCE_SECONDS = 15  # half of what gunicorn gives a worker that ends in order
HELD = """
import pathlib, runpy, time
globals().update(runpy.run_path({conf!r}))

def post_fork(server, worker):
    while worker.age > {workers} and not pathlib.Path({gate!r}).exists():
        time.sleep(0.02)
"""

SLOW = """
import asyncio, runpy, time
globals().update(runpy.run_path({conf!r}))
begin = post_worker_init

def post_worker_init(worker):
    begin(worker)
    serve = worker._serve

    async def serve_slowly():
        turn()
        await serve()

    def turn():
        time.sleep({seconds})
        asyncio.get_running_loop().call_soon(turn)

    worker._serve = serve_slowly
"""


def has_logged(service: Service, text: str) -> bool:
    return text in service.log.read_text()


def was_orderly(service: Service) -> bool:
    """Tell whether there was no error and no killed worker so far."""
    return not has_logged(service, '"ERROR"') and not has_logged(service, "was sent SIG")


@contextmanager
def write_under_way(service: Service, postgres: Postgres) -> Iterator[list[int]]:
    """Have a write wait for a lock until the end of the block; its status comes into the list."""
    statuses: list[int] = []

    def write() -> None:
        try:
            statuses.append(service.write("PATCH", "/products/1", stock=41).status_code)
        except OSError:
            statuses.append(0)

    request = threading.Thread(target=write)
    with psycopg2.connect(postgres.url) as blocker, blocker.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
        request.start()
        await_true(lambda: waits_for_a_lock(postgres), "the write waits")
        yield statuses
    blocker.close()
    request.join(60)


def test_old_workers_serve_until_new_ones_are_ready(serve: Serve, tmp_path: Path) -> None:
    gate, conf = tmp_path / "gate", tmp_path / "conf.py"
    conf.write_text(HELD.format(conf=str(ROOT / "gunicorn.conf.py"), workers=1, gate=str(gate)))
    service = serve(GUNICORN_CMD_ARGS=f"--config={conf}", **ONE, **DRAIN)
    old = service.workers()
    with Load([service.url], ADMIN_KEY) as load:
        os.kill(service.master, signal.SIGHUP)
        await_true(lambda: len(service.workers()) > 1, service.log)
        load.await_well()  # by the old one
        gate.touch()
        service.await_replaced(old)
        load.await_well()
    assert not load.saw.failed
    assert load.saw.stale == []
    assert was_orderly(service)


def test_a_worker_that_ends_answers_late_requests(
    serve: Serve, a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(DRAIN_SECONDS="60", **ONE)
    address = service.url.removeprefix("http://")
    silent, kept = http.client.HTTPConnection(address), http.client.HTTPConnection(address)
    silent.connect()
    kept.request("GET", "/products/1")
    assert kept.getresponse().read()
    with write_under_way(service, postgres) as statuses:
        os.kill(service.master, signal.SIGTERM)
        await_true(lambda: service.get("/readyz").status_code == 503, service.log)
        assert service.get("/readyz").json()["status"] == "leaving"
        assert service.get("/livez").ok
        for one in (silent, kept, http.client.HTTPConnection(address)):
            one.request("GET", "/products/1")
            answer = one.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (200, "close")
    assert statuses == [200]
    os.kill(service.master, signal.SIGINT)  # what is left of the minute is not waited for
    await_true(lambda: service.program.exit_status() is not None, service.log, AT_ONCE_SECONDS)
    assert service.program.exit_status() == 0
    assert was_orderly(service)


def test_clients_that_wait_to_be_accepted_are_answered(serve: Serve, a_shop: Shop) -> None:
    a_shop.create_product()
    service = serve(**ONE)
    host, port = service.url.removeprefix("http://").split(":")
    [worker] = service.workers()
    os.kill(worker, signal.SIGSTOP)
    clients = [socket.create_connection((host, int(port)), timeout=60) for _ in range(20)]
    for one in clients:
        one.sendall(b"GET /products/1 HTTP/1.1\r\nHost: shop\r\n\r\n")
    os.kill(service.master, signal.SIGTERM)
    await_true(lambda: has_logged(service, "Handling signal: term"), service.log)
    os.kill(worker, signal.SIGCONT)
    for one in clients:
        with one:
            assert one.makefile("rb").read().startswith(b"HTTP/1.1 200 ")  # until it is closed


def test_clients_that_come_together_wait_for_few_turns_of_a_busy_loop(
    serve: Serve, tmp_path: Path
) -> None:
    conf = tmp_path / "conf.py"
    conf.write_text(SLOW.format(conf=str(ROOT / "gunicorn.conf.py"), seconds=0.05))
    service = serve(GUNICORN_CMD_ARGS=f"--config={conf}", **ONE)
    host, port = service.url.removeprefix("http://").split(":")
    came = time.monotonic()
    clients = [socket.create_connection((host, int(port)), timeout=60) for _ in range(200)]
    for one in clients:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
    for one in clients:
        with one:
            assert one.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() < came + 5  # not 200 turns, which are 10 s


def test_an_idle_connection_is_closed_and_not_reset(serve: Serve) -> None:
    service = serve(**ONE)
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as idle:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert service.program.stop() == 0
        assert idle.recv(4096) == b""
    assert was_orderly(service)


def test_a_request_that_does_not_end_is_abandoned_at_shutdown(
    serve: Serve, a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(GUNICORN_CMD_ARGS="--graceful-timeout 4", **ONE)
    with write_under_way(service, postgres) as statuses:
        assert service.program.stop() == 0
        await_true(lambda: statuses == [0])
    assert has_logged(service, "1 requests were under way and have been given up")
    assert was_orderly(service)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_signals_end_the_service_at_once(
    serve: Serve, a_shop: Shop, postgres: Postgres, number: signal.Signals
) -> None:
    a_shop.create_product()
    service = serve(DRAIN_SECONDS="60")
    with write_under_way(service, postgres) as statuses:
        os.kill(service.master, number)
        await_true(lambda: service.program.exit_status() is not None, service.log, AT_ONCE_SECONDS)
        await_true(lambda: statuses == [0])
    assert service.program.exit_status() == 0
    assert was_orderly(service)


def test_workers_are_replaced_after_so_many_requests(serve: Serve) -> None:
    service = serve(GUNICORN_CMD_ARGS="--max-requests 200", WEB_CONCURRENCY="2", **DRAIN)
    with Load([service.url], ADMIN_KEY) as load:
        for _ in range(2):
            old = service.workers()
            service.await_replaced(old)
        load.await_well()
    assert not load.saw.failed
    assert load.saw.stale == []
    assert was_orderly(service)


def test_a_preloaded_application_serves(serve: Serve) -> None:
    service = serve(GUNICORN_CMD_ARGS="--preload", **DRAIN)
    old = service.workers()
    with Load([service.url], ADMIN_KEY) as load:
        os.kill(service.master, signal.SIGUSR1)
        await_true(lambda: has_logged(service, "Handling signal: usr1"), service.log)
        load.await_well()
        assert service.workers() == old
        os.kill(service.master, signal.SIGHUP)
        service.await_replaced(old)
        load.await_well()
    assert not load.saw.failed
    assert load.saw.stale == []
    assert service.program.stop() == 0
    assert was_orderly(service)


def test_a_killed_worker_is_replaced(serve: Serve) -> None:
    """Only requests under way in it are lost, and no count of those that it had answered."""
    service = serve(WEB_CONCURRENCY="2")
    first, second = service.workers()
    with Load([service.url], ADMIN_KEY) as load:
        before = _answered(service)
        os.kill(first, signal.SIGKILL)
        await_true(lambda: len(service.workers() - {first, second}) == 1, service.log)
        load.await_well()
        assert _answered(service) >= before
    assert sum(load.saw.failed.values()) <= READERS + 1
    assert set(load.saw.failed) <= {"GET 0", "PATCH 0"}
    assert load.saw.stale == []


def _answered(service: Service) -> float:
    lines = service.get("/metrics").text.splitlines()
    found = [one for one in lines if one.startswith("shop_http_requests_total{")]
    return sum(float(one.rpartition(" ")[2]) for one in found)


def next_of(service: Service, old: set[int]) -> int:
    """Wait for a worker that is none of these."""
    new: set[int] = set()
    while not new:
        new = service.workers() - old
    return new.pop()


def test_a_worker_that_hangs_is_replaced(serve: Serve) -> None:
    """A worker that has not served yet is replaced, too."""
    # Long enough for the other, which is slow on a busy machine but does not hang.
    service = serve(GUNICORN_CMD_ARGS="--timeout 15", WEB_CONCURRENCY="2")
    hangs, other = service.workers()
    for _ in ("it serves", "it has just been forked"):
        os.kill(hangs, signal.SIGSTOP)
        hangs = next_of(service, {hangs, other})
    assert other in service.workers()
    assert has_logged(service, "WORKER TIMEOUT")


def test_workers_end_when_their_master_was_killed(serve: Serve) -> None:
    service = serve()
    host, port = service.url.removeprefix("http://").split(":")
    os.kill(service.master, signal.SIGKILL)
    await_true(lambda: _is_refused(host, int(port)), service.log)


def _is_refused(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) != 0
