"""Drills: three hosts of the service behind nginx and behind HAProxy."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from certificates import Authority
from conftest import ADMIN_KEY
from drilling import note
from ports import free_port
from proxies import haproxy, nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load
    from proxies import Proxy

    from dev.embedded.home import Home

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]

HOSTS = 3
QUOTA = 100
ASKED = 300
REFUSED = 30
LARGE = 200_000  # bytes
SLOW = 40  # clients, more than there are threads
FRONTS = pytest.mark.parametrize("front", [nginx, haproxy], ids=["nginx", "haproxy"])
BEHIND = {"TRUSTED_PROXIES": "1", "WEB_CONCURRENCY": "1", "DRAIN_SECONDS": "2"}


@pytest.fixture
def ports() -> list[int]:
    return [free_port() for _ in range(HOSTS)]


@pytest.fixture
def proxy(
    home: Home, ports: Sequence[int], front: Callable[[Home, Sequence[int]], Proxy]
) -> Iterator[Proxy]:
    made = front(home, ports)
    yield made
    made.stop()


def kill(service: Service) -> None:
    """End a host as a loss of power does."""
    os.killpg(service.master, signal.SIGKILL)
    service.program.stop()


def reload(service: Service) -> None:
    """Replace the workers, and wait until the old ones are gone."""
    old = service.workers()
    os.kill(service.master, signal.SIGHUP)
    service.await_replaced(old)


@FRONTS
def test_hosts_count_together(
    request: pytest.FixtureRequest, proxy: Proxy, ports: list[int], serve: Serve
) -> None:
    for port in ports:
        serve(port=port, RATE_LIMIT_CALLS=str(QUOTA), **BEHIND)
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda _: requests.get(f"{proxy.url}/products"), range(ASKED))
        statuses = Counter(answer.status_code for answer in answers)
    note(request.node.name, f"{ASKED}", passed=f"{statuses[HTTPStatus.OK]}")
    assert statuses == {HTTPStatus.OK: QUOTA, HTTPStatus.TOO_MANY_REQUESTS: ASKED - QUOTA}


@FRONTS
def test_hosts_restarted_one_by_one(
    proxy: Proxy, ports: list[int], serve: Serve, load: Loads
) -> None:
    services = [serve(port=port, **BEHIND) for port in ports]
    one = load([proxy.url])
    with one:
        for service, port in zip(services, ports, strict=True):
            service.program.stop()
            serve(port=port, **BEHIND)
            one.await_well()
    assert one.saw.stale == []
    assert not [what for what in one.saw.failed if what.startswith("GET")]


@FRONTS
def test_hosts_reloaded_one_by_one(
    proxy: Proxy, ports: list[int], serve: Serve, load: Loads
) -> None:
    services = [serve(port=port, **BEHIND) for port in ports]
    one = load([proxy.url])
    with one:
        for service in services:
            reload(service)
            one.await_well()
    assert not one.saw.failed
    assert one.saw.stale == []


def test_host_reloaded_without_a_proxy(serve: Serve, load: Loads) -> None:
    service = serve(**BEHIND)
    one = load([service.url])
    with one:
        reload(service)
        one.await_well()
    assert not one.saw.failed
    assert one.saw.stale == []


@FRONTS
def test_workers_replaced_after_requests(
    proxy: Proxy, ports: list[int], serve: Serve, load: Loads
) -> None:
    options = f"--max-requests {ASKED}"
    two = BEHIND | {"WEB_CONCURRENCY": "2"}
    services = [serve(port=port, GUNICORN_CMD_ARGS=options, **two) for port in ports]
    first = [service.workers() for service in services]
    one = load([proxy.url])
    with one:
        for service, old in zip(services, first, strict=True):
            service.await_replaced(old)
        one.await_well()
    assert not one.saw.failed
    assert one.saw.stale == []


@FRONTS
def test_refused_bodies_cost_others_nothing(
    proxy: Proxy, ports: list[int], serve: Serve, load: Loads
) -> None:
    """Each body is refused before it is read, on a connection that the proxy goes on to use."""
    for port in ports:
        serve(port=port, **BEHIND)
    one = load([proxy.url])
    with one:
        for _ in range(REFUSED):
            refused = requests.post(f"{proxy.url}/orders/1/pay", data=b"x" * LARGE, timeout=60)
            assert refused.status_code in {
                HTTPStatus.UNAUTHORIZED,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            }
        one.await_well()
    assert not one.saw.failed
    assert one.saw.stale == []


@FRONTS
def test_host_killed(proxy: Proxy, ports: list[int], serve: Serve, load: Loads) -> None:
    """A write that the dead host had begun is answered 502, and everything else is done.

    Where the connection to the host had been used before, HAProxy ends that of the client instead.
    """
    services = [serve(port=port, **BEHIND) for port in ports]
    one = load([proxy.url])
    with one:
        kill(services[0])
        one.await_well()
    assert one.saw.stale == []
    assert set(one.saw.failed) <= {f"PATCH {HTTPStatus.BAD_GATEWAY}", "PATCH 0"}
    assert sum(one.saw.failed.values()) <= 1


@FRONTS
def test_slow_clients_hold_no_thread(
    home: Home, front: Callable[[Home, Sequence[int]], Proxy], serve: Serve, load: Loads
) -> None:
    port = free_port()
    serve(port=port, **BEHIND)
    proxy = front(home, [port])
    head = (
        "POST /products HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Length: 100\r\n\r\n"
    ).encode()
    try:
        with load([proxy.url]) as one, ExitStack() as slow:
            for _ in range(SLOW):
                client = slow.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
                client.sendall(head + b'{"name": ')  # and not the rest
            one.await_well()
    finally:
        proxy.stop()
    assert not one.saw.failed
    assert one.saw.stale == []


def test_nginx_that_compresses(home: Home, serve: Serve) -> None:
    port = free_port()
    service = serve(port=port, **BEHIND)
    proxy = nginx(home, [port], gzip=True)
    try:
        service.write("POST", "/categories", name="Garden")
        service.write("POST", "/products", name="Rake", price=1, stock=1, category_id=1)
        url = f"{proxy.url}/products/1"
        first = requests.get(url, timeout=60)
        etag = first.headers["ETag"]
        assert first.headers["Content-Encoding"] == "gzip"
        assert etag.startswith('W/"')
        again = requests.get(url, headers={"If-None-Match": etag}, timeout=60)
        assert again.status_code == HTTPStatus.NOT_MODIFIED
        key = {"Authorization": f"Bearer {ADMIN_KEY}"}
        refused = requests.patch(url, json={"stock": 2}, headers=key | {"If-Match": etag})
        assert refused.status_code == HTTPStatus.PRECONDITION_FAILED
        assert "weak" in refused.json()["detail"]
        plain = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=60)
        strong = key | {"If-Match": plain.headers["ETag"]}
        assert requests.patch(url, json={"stock": 2}, headers=strong).ok
    finally:
        proxy.stop()


def test_the_front_of_the_containers_speaks_tls(home: Home, serve: Serve) -> None:
    authority = Authority(home, "front")
    port = free_port()
    serve(port=port, **BEHIND)
    front = nginx(home, [port], certificates=authority.of("tls"))
    try:
        url = front.url.replace("http:", "https:")
        trusted = str(authority.certificate)
        answer = requests.get(f"{url}/categories", verify=trusted, timeout=60)
        assert answer.status_code == HTTPStatus.OK
        assert answer.headers["Strict-Transport-Security"]
        answer = requests.get(f"{url}/metrics", verify=trusted, timeout=60)
        assert answer.status_code == HTTPStatus.NOT_FOUND
    finally:
        front.stop()
