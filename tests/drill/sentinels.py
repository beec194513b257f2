"""Drills: a master of Redis behind sentinels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import await_true
from redis_servers import MASTER, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load

    from dev.embedded.home import Home

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]


@pytest.fixture
def group(home: Home) -> Iterator[Group]:
    made = Group(home)
    yield made
    made.stop()


def run(load: Load, happen: Callable[[], None]) -> None:
    with load:
        happen()
        load.await_well()
    assert load.saw.stale == []
    assert not [what for what in load.saw.failed if what.startswith("GET")]


def failed_over(group: Group, before: int) -> None:
    await_true(lambda: group.master_port() != before, seconds=30)


def test_sentinel_master_killed(group: Group, serve: Serve, load: Loads) -> None:
    def happen() -> None:
        group.master.kill()
        failed_over(group, group.master.port)

    run(load([serve(REDIS_URL=group.url).url]), happen)


def test_sentinel_master_hung(group: Group, serve: Serve, load: Loads) -> None:
    def happen() -> None:
        group.master.hang()
        failed_over(group, group.master.port)

    run(load([serve(REDIS_URL=group.url).url]), happen)


def test_sentinel_failover_by_command(group: Group, serve: Serve, load: Loads) -> None:
    def happen() -> None:
        group.sentinels[0].call("SENTINEL", "FAILOVER", MASTER)
        failed_over(group, group.master.port)

    run(load([serve(REDIS_URL=group.url).url]), happen)


@pytest.mark.parametrize("count", [1, 3], ids=["one", "all"])
@pytest.mark.parametrize("how", ["kill", "hang"])
def test_sentinels_gone(group: Group, serve: Serve, load: Loads, how: str, count: int) -> None:
    """The master lives, so no request is affected."""

    def happen() -> None:
        for sentinel in group.sentinels[:count]:
            getattr(sentinel, how)()

    one = load([serve(REDIS_URL=group.url).url])
    run(one, happen)
    assert not one.saw.failed
    assert len(one.saw.bypass) == 0


def test_sentinels_with_a_password(home: Home, serve: Serve, load: Loads) -> None:
    group = Group(home, password="of-sentinels")
    url = f"{group.url}?sentinel_password=of-sentinels"
    try:

        def happen() -> None:
            group.master.kill()
            await_true(lambda: group.master_port() != group.master.port, seconds=30)

        run(load([serve(REDIS_URL=url).url]), happen)
    finally:
        group.stop()
