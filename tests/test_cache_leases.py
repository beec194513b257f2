"""Leases: one reader computes, the others wait, and unknown ids are bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from cached_product import KEY, outcome, stock
from faults import execute

from shop.cache import protocol as protocol_module
from shop.cache import reader as reader_module
from shop.cache.protocol import EntryState
from shop.extensions import cache
from shop.products import service as products

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from conftest import Make, Service, Shop

    from dev.embedded.servers import Postgres


def test_two_hundred_concurrent_first_readers_send_one_select(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="4", LOG_LEVEL="DEBUG")
    for _ in range(20):
        service.get("/categories")
    answers: list[int] = []
    begin = threading.Barrier(200)

    def read() -> None:
        begin.wait()
        answers.append(service.get("/products/1").json()["stock"])

    threads = [threading.Thread(target=read) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [3] * 200
    assert service.log.read_text().count("Cache MISS: products:id:1") == 1
    assert service.log.read_text().count("Cache BYPASS: products:id:1") == 0


def test_a_dead_reader_delays_others_only_until_its_lease_ends(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_shop.create_product()
    stock(a_shop)
    a_shop.patch("/products/1", stock=4)
    monkeypatch.setattr(protocol_module, "LEASE_SECONDS", 0.3)
    with a_shop.app.app_context():
        dead = cache.backend.protocol.read(["products:id:generation"], [KEY])
    assert dead[0].state is EntryState.LEASED
    assert stock(a_shop) == 4
    assert outcome(a_shop) == "HIT"  # the one that waited has stored it


def test_a_reader_waits_no_longer_than_a_lease(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holder is followed by another one that dies."""
    a_shop.create_product()
    stock(a_shop)
    a_shop.patch("/products/1", stock=4)
    with a_shop.app.app_context():
        cache.backend.protocol.read(["products:id:generation"], [KEY])
    monkeypatch.setattr(reader_module, "LEASE_SECONDS", 0.05)
    assert stock(a_shop) == 4
    assert outcome(a_shop) == "MISS"


def test_a_reader_that_fails_gives_its_lease_back(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    redis_cli.delete(KEY)
    execute(a_shop, "ALTER TABLE products RENAME COLUMN description TO hidden")
    try:
        assert a_shop.get("/products/1").status_code == 500
    finally:
        execute(a_shop, "ALTER TABLE products RENAME COLUMN hidden TO description")
    assert not redis_cli.exists(KEY)


# Ids that do not exist.


def test_an_unknown_id_is_cached_until_it_is_created(
    make_shop: Make, a_shop: Shop, redis_cli: Any
) -> None:
    a_shop.create_category()
    assert a_shop.get("/products/1").status_code == 404
    with a_shop.statements() as sent:
        assert a_shop.get("/products/1").status_code == 404
    assert not sent
    assert 0 < redis_cli.ttl(KEY) <= 30
    with make_shop(CACHE_STALE_IF_ERROR="1000").app.app_context():
        redis_cli.delete(KEY)
        assert products.product_documents([1]) == {}
    assert 0 < redis_cli.ttl(KEY) <= 30
    a_shop.create_product()
    assert a_shop.get("/products/1").status_code == 200
    a_shop.delete("/products/1")
    assert a_shop.get("/products/1").status_code == 404


def test_unknown_ids_cannot_fill_redis(
    a_shop: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "MISSING_IDS_MAX", 5)
    for number in range(1, 21):
        assert a_shop.get(f"/products/{number}").status_code == 404
    assert len(redis_cli.keys("products:id:[0-9]*")) == 5
    with a_shop.statements() as sent:
        assert a_shop.get("/products/20").status_code == 404  # not held up by a lease either
    assert len(sent) == 1
