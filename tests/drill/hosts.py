"""Drills: three hosts of the service behind nginx and behind HAProxy."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from conftest import free_port
from drilling import note
from proxies import haproxy, nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load
    from proxies import Proxy

    from shop.embedded.home import Home

    Serve = Callable[..., Service]

QUOTA = 100
ASKED = 300
FRONTS = pytest.mark.parametrize("front", [nginx, haproxy], ids=["nginx", "haproxy"])


@pytest.fixture
def ports() -> list[int]:
    return [free_port() for _ in range(3)]


@pytest.fixture
def proxy(
    home: Home, ports: Sequence[int], front: Callable[[Home, Sequence[int]], Proxy]
) -> Iterator[Proxy]:
    made = front(home, ports)
    yield made
    made.stop()


@FRONTS
def test_hosts_count_together(proxy: Proxy, ports: list[int], serve: Serve) -> None:
    for port in ports:
        serve(port=port, TRUSTED_PROXIES="1", RATE_LIMIT_CALLS=str(QUOTA), REDIS_TIMEOUT="60000")
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda _: requests.get(f"{proxy.url}/products"), range(ASKED))
        statuses = Counter(answer.status_code for answer in answers)
    note("quota of 100 over three hosts", f"{sum(statuses.values())}", f"{dict(statuses)}")
    assert statuses == {HTTPStatus.OK: QUOTA, HTTPStatus.TOO_MANY_REQUESTS: ASKED - QUOTA}


@FRONTS
def test_hosts_restarted_one_by_one(
    proxy: Proxy, ports: list[int], serve: Serve, load: Callable[[Sequence[str]], Load]
) -> None:
    services = [serve(port=port, TRUSTED_PROXIES="1") for port in ports]
    one = load([proxy.url])
    with one:
        for service, port in zip(services, ports, strict=True):
            service.program.stop()
            serve(port=port, TRUSTED_PROXIES="1")
            one.await_well()
    assert one.saw.stale == []


def test_nginx_that_compresses(home: Home, serve: Serve) -> None:
    service = serve(TRUSTED_PROXIES="1")
    proxy = nginx(home, [int(service.url.rpartition(":")[2])], gzip="on")
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
        key = {"Authorization": "Bearer an-admin-key-for-the-tests", "If-Match": etag}
        refused = requests.patch(url, json={"stock": 2}, headers=key, timeout=60)
        assert refused.status_code == HTTPStatus.PRECONDITION_FAILED
        assert "weak" in refused.json()["detail"]
    finally:
        proxy.stop()
