"""Drills: a PostgreSQL that fails over to its standby, with and without lost commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load
    from replication import Replicated

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]


@pytest.fixture
def way(replicated: Replicated) -> Iterator[Relay]:
    """As a proxy that leads to the primary of now."""
    relay = Relay(replicated.primary.socket)
    yield relay
    relay.close()


def fail_over(replicated: Replicated, way: Relay) -> None:
    replicated.primary.kill()
    way.close()
    replicated.standby.promote()
    way.target = replicated.standby.socket
    way.open()


def test_failover_that_loses_nothing(
    replicated: Replicated, way: Relay, serve: Serve, load: Loads
) -> None:
    """The primary commits what its standby has applied."""
    primary = replicated.primary
    primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.ask("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
    primary.ask("SELECT pg_reload_conf()")
    one = load([serve(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop").url])
    with one:
        fail_over(replicated, way)
        one.await_well()
    assert one.saw.stale == []


def test_failover_that_loses_commits(
    replicated: Replicated, way: Relay, serve: Serve, load: Loads
) -> None:
    """What was acknowledged and is lost is in no answer, also where nobody writes it again."""
    service = serve(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
    one = load([service.url])
    with one:
        service.write("POST", "/products", name="Rake", price=1, stock=36, category_id=1)
        replicated.standby.catch_up()
        replicated.standby.stop_receiving()
        service.write("PATCH", "/products/4", stock=777)
        assert service.get("/products/4").json()["stock"] == 777
        replicated.primary.kill()
        way.close()
        replicated.standby.promote()
        with replicated.standby.session() as cursor:
            cursor.execute("SELECT id, stock FROM products")
            one.expect(dict(cursor.fetchall()))
        way.target = replicated.standby.socket
        way.open()
        one.await_well()
        assert service.get("/products/4").json()["stock"] == 36
    assert one.saw.stale == []
