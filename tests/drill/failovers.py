"""Drills: a PostgreSQL that fails over to its standby, with and without lost commits."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from conftest import await_true
from proxies import to_primary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load
    from proxies import Proxy
    from replication import Replicated

    from dev.embedded.home import Home

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]


@pytest.fixture
def proxy(home: Home, replicated: Replicated) -> Iterator[Proxy]:
    """An HAProxy that leads to the primary of now."""
    replicated.primary.ask("CREATE ROLE haproxy LOGIN")
    made = to_primary(home, [one.socket for one in replicated])
    yield made
    made.stop()


def url_of(proxy: Proxy) -> str:
    return f"postgresql://shop@127.0.0.1:{proxy.port}/shop"


def lose_nothing(replicated: Replicated) -> None:
    """Let the primary commit what its standby has applied, and nothing else."""
    primary = replicated.primary
    primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.ask("SELECT pg_reload_conf()")
    # The servers of tests do not wait for a disk; what a role has goes before their command line.
    primary.ask("ALTER ROLE shop SET synchronous_commit = 'remote_apply'")
    await_true(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync")


def fail_over(replicated: Replicated) -> None:
    replicated.primary.kill()
    replicated.standby.promote()


def test_failover_behind_haproxy(
    replicated: Replicated, proxy: Proxy, serve: Serve, load: Loads
) -> None:
    lose_nothing(replicated)
    one = load([serve(DATABASE_URL=url_of(proxy)).url])
    with one:
        fail_over(replicated)
        one.await_well()
    assert one.saw.stale == []


def test_failover_with_a_url_of_both_servers(
    replicated: Replicated, serve: Serve, load: Loads
) -> None:
    lose_nothing(replicated)
    hosts = quote(",".join(str(one.socket.parent) for one in replicated), safe=",")
    url = f"postgresql://shop@/shop?host={hosts}&target_session_attrs=read-write"
    one = load([serve(DATABASE_URL=url).url])
    with one:
        fail_over(replicated)
        one.await_well()
    assert one.saw.stale == []


def test_failover_that_loses_commits(
    replicated: Replicated, proxy: Proxy, serve: Serve, load: Loads
) -> None:
    """No answer has an acknowledged write that was lost, even where no later write replaces it."""
    service = serve(DATABASE_URL=url_of(proxy))
    one = load([service.url])
    with one:
        service.write("POST", "/products", name="Rake", price=1, stock=36, category_id=1)
        replicated.standby.catch_up()
        replicated.standby.stop_receiving()
        service.write("PATCH", "/products/4", stock=777)
        assert service.get("/products/4").json()["stock"] == 777
        proxy.stop()
        fail_over(replicated)
        with replicated.standby.session() as cursor:
            cursor.execute("SELECT id, stock FROM products")
            one.expect(dict(cursor.fetchall()))
        proxy.start()
        one.await_well()
        assert service.get("/products/4").json()["stock"] == 36
    assert one.saw.stale == []
