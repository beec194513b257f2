"""Clients that are slow, silent or many: each is ended in time, and delays no other."""

from __future__ import annotations

import resource
import select
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest
from conftest import await_true
from raw import Raw, chunked, connected, get, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Service, Shop

    Serve = Callable[..., Service]

IDLE = 2000
MEBIBYTE = 1024 * 1024
HALVES = (b"G", b"GET /prod", get()[:-2], get(b"/", b"Host: x", b"A: b")[:-6])
LARGE = get(b"/openapi.json")
SLACK = 0.1  # seconds by which an answer may be later than without slow clients


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """The client needs a file for each connection, and so does the service."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(before[0], 2 * IDLE + 500)
    if before[1] not in {resource.RLIM_INFINITY, *range(wanted, before[1] + 1)}:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def start(serve: Serve, a_shop: Shop) -> Serve:
    a_shop.create_product()

    def start_one(**changes: str) -> Service:
        service = serve(WEB_CONCURRENCY="1", **changes)
        await_true(lambda: service.get("/products/1").headers["X-Cache"] == "HIT")
        return service

    return start_one


def memory_of(service: Service) -> int:
    """Return how many bytes the worker has in memory."""
    [worker] = service.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    [line] = [one for one in status.splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def seconds_of_all(service: Service) -> list[float]:
    """Return how long a hit, a miss, a write, and each probe take: each is answered right."""

    def read(path: str) -> None:
        assert service.get(path).status_code == 200

    def write() -> None:
        assert service.write("PATCH", "/products/1", stock=int(time.monotonic())).ok

    calls = [
        lambda: read("/products/1"),
        lambda: read(f"/products?skip={time.monotonic_ns() % 10_000}"),
        write,
        lambda: read("/livez"),
        lambda: read("/readyz"),
        lambda: read("/health_check"),
    ]
    return [median(map(seconds_of, [call] * 9)) for call in calls]


def seconds_of(call: Callable[[], None]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def assert_nobody_waits(before: list[float], after: list[float]) -> None:
    assert all(two < one + SLACK for one, two in zip(before, after, strict=True)), (before, after)


def await_stuck(service: Service) -> None:
    """Return when no large answer is made any more: all who asked for one read nothing."""
    made, since = 0.0, time.monotonic()

    def are_stuck() -> bool:
        nonlocal made, since
        lines = service.get("/metrics").text.splitlines()
        counted = sum(
            float(line.split()[1])
            for line in lines
            if line.startswith("shop_http_requests_total") and "openapi" in line
        )
        if counted != made:
            made, since = counted, time.monotonic()
        return time.monotonic() - since > 0.5

    await_true(are_stuck)


def trickle(client: Raw, data: bytes) -> None:
    """Send bytes one by one until the service has answered."""
    with suppress(ConnectionError):
        for n in range(len(data)):
            if select.select([client.socket], [], [], 0.05)[0]:
                return
            client.send(data[n : n + 1])


def test_a_head_that_does_not_come_is_refused_in_time(start: Serve) -> None:
    service = start(HEAD_TIMEOUT="1")
    with connected(service, 2 * len(HALVES) + 1) as clients:
        *halves, slow = clients
        for half, client in zip(HALVES, halves, strict=False):
            client.send(half)
        for half, client in zip(HALVES, halves[len(HALVES) :], strict=True):
            client.send(get(b"/livez") + half)  # behind one that is answered
            assert client.answer().status == 200
        began = time.monotonic()
        with ThreadPoolExecutor() as pool:
            trickling = pool.submit(trickle, slow, get(b"/" + b"a" * 1000))
            for client in clients:
                answer = client.answer()
                assert (answer.problem, answer.closes) == ("request-timeout", True)
                assert client.await_end() == b""
            trickling.result()
        assert time.monotonic() - began < 10
    timeouts = 'method="other",route="unmatched",status="408"'
    assert f"{{{timeouts}}} {float(len(clients))}" in service.get("/metrics").text


def test_a_body_that_does_not_come_is_refused_in_time(start: Serve) -> None:
    service = start(HEAD_TIMEOUT="1")
    bodies = (
        post(b"", b"Content-Length: 100"),
        post(b"{", b"Content-Length: 100"),
        post(b"", b"Content-Length: 100", b"Expect: 100-continue"),
    )
    with connected(service, len(bodies) + 1) as clients, ThreadPoolExecutor() as pool:
        for body, client in zip(bodies, clients, strict=False):
            client.send(body)
        trickling = pool.submit(trickle, clients[-1], post(b" " * 1000))
        for client in clients:
            answer = client.answer()
            assert (answer.problem, answer.closes) == ("request-timeout", True)
            assert client.await_end() == b""
        trickling.result()


def test_the_service_does_not_wait_for_an_unwanted_body(start: Serve) -> None:
    """The client has its answer, and gets no other one."""
    service = start(HEAD_TIMEOUT="1")
    with connected(service) as [client]:
        client.send(post(b" ", b"Content-Length: 70000", path=b"/cart/checkout"))
        assert client.answer().status == 413
        client.send(b" ")
        assert client.await_end() == b""


def test_a_connection_that_is_not_used_is_closed(start: Serve) -> None:
    """The connection may have been used before, or never."""
    service = start(GUNICORN_CMD_ARGS="--keep-alive 1")
    with connected(service, 2) as [used, silent]:
        assert used.is_open()
        assert used.await_end() == b""
        assert silent.await_end() == b""


def test_readers_that_do_not_read_are_closed_and_bounded(start: Serve) -> None:
    service = start(HEAD_TIMEOUT="1")
    size = len(service.get("/openapi.json").content)
    before, memory = seconds_of_all(service), memory_of(service)
    with connected(service, 16, receives=4096) as clients:
        for client in clients:
            client.send(LARGE * 400)
        await_stuck(service)
        assert_nobody_waits(before, seconds_of_all(service))
        assert memory_of(service) - memory < 16 * 4 * size + 16 * MEBIBYTE
        await_true(lambda: all(map(has_been_reset, clients)))
    assert_nobody_waits(before, seconds_of_all(service))


def has_been_reset(client: Raw) -> bool:
    """Tell whether the service has closed: then no byte more is taken."""
    try:
        client.send(b"\r\n")
    except OSError:
        return True
    return False


def test_slow_clients_of_all_kinds_do_not_slow_others(start: Serve) -> None:
    service = start(HEAD_TIMEOUT="60")
    before = seconds_of_all(service)
    with (
        connected(service, 16) as heads,
        connected(service, 16) as bodies,
        connected(service, 16, receives=4096) as readers,
    ):
        for n in range(16):
            heads[n].send(HALVES[n % len(HALVES)])
            bodies[n].send(post(b" " * 20_000, b"Content-Length: 60000"))
            readers[n].send(LARGE * 20)
        await_stuck(service)
        assert_nobody_waits(before, seconds_of_all(service))
        for n in range(16):
            bodies[n].send(b" " * 39_983 + b'{"name":"%6d"}' % n)
            assert bodies[n].answer().status == 201
            assert [readers[n].answer().status for _ in range(20)] == [200] * 20


def test_two_thousand_idle_connections_do_not_slow_others(start: Serve) -> None:
    service = start()
    before = seconds_of_all(service)
    with connected(service, IDLE) as idle:
        for client in idle[::2]:
            assert client.is_open()
        assert_nobody_waits(before, seconds_of_all(service))
        assert all(client.is_open() for client in idle)


def test_bodies_on_their_way_are_bounded_together(start: Serve) -> None:
    """The oldest bodies make room: a client that sends its body at once is not refused."""
    service = start()
    memory = memory_of(service)
    part = b" " * (MEBIBYTE - 1000)
    with connected(service, 60) as clients:
        for client in clients:
            client.send(post(part, b"Content-Length: %d" % MEBIBYTE))
            assert service.write("POST", "/products", name="a" * 300).status_code == 422
        for client in clients[:20]:
            answer = client.answer()
            assert (answer.problem, answer.closes) == ("overloaded", True)
            assert answer.headers["retry-after"] == "1"
        assert memory_of(service) - memory < 80 * MEBIBYTE
        clients[-1].send(b" " * 1000)
        assert clients[-1].answer().problem == "invalid-json"
    assert service.write("POST", "/categories", name="b").status_code == 201


def test_pipelined_requests_are_bounded(start: Serve) -> None:
    """Only a few of the pipelined requests are held at a time."""
    service = start()
    memory = memory_of(service)
    with connected(service, 20) as clients:
        for client in clients:
            client.socket.settimeout(1)
            with suppress(TimeoutError):
                client.send(get(b"/products?q=a") + get(b"/livez") * 20_000)
        assert memory_of(service) - memory < 64 * MEBIBYTE
        assert service.get("/livez").status_code == 200


def test_many_small_chunks_are_read_within_limits(start: Serve) -> None:
    service = start()
    body = b'{"name":"%b"}' % (b" " * 30_000 + b"a")
    with connected(service) as [client]:
        whole = chunked(*(body[n : n + 1] for n in range(len(body))))
        assert client.ask(post(whole, b"Transfer-Encoding: chunked")).status in {201, 422}
        assert client.is_open()
