"""Drills: a Redis Cluster of three masters, each with a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import await_true
from redis_servers import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load

    from dev.embedded.home import Home

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]

SLOTS = range(200)  # of the first master


@pytest.fixture
def cluster(home: Home) -> Iterator[Cluster]:
    made = Cluster(home)
    yield made
    made.stop()


@pytest.mark.parametrize("how", ["kill", "hang"])
def test_cluster_master_lost(cluster: Cluster, serve: Serve, load: Loads, how: str) -> None:
    one = load([serve(REDIS_URL=cluster.url).url])
    lost, witness = cluster.masters[0], cluster.masters[1]
    with one:
        getattr(lost, how)()
        await_true(lambda: cluster.has_failed(witness, lost), seconds=30)
        one.await_well()
    assert one.saw.stale == []
    assert not [what for what in one.saw.failed if what.startswith("GET")]


def test_cluster_slots_move(cluster: Cluster, serve: Serve, load: Loads) -> None:
    one = load([serve(REDIS_URL=cluster.url).url])
    with one:
        cluster.move(SLOTS)
        one.await_well()
    assert one.saw.stale == []
    assert not one.saw.failed
