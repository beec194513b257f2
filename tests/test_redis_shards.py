"""A cluster of three masters, one of which is lost: it costs what is on it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis
from clustered import Cluster, a_cluster, start_master
from conftest import await_true
from sqlalchemy import text

from shop.extensions import db
from shop.redis import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop, StartRedis

LOST = 1  # the number of a master that has entries, and no name that all requests need
SECONDS = 3
OPENED = "Redis cannot be reached (node "
BACK = "Redis answers again (node "


@pytest.fixture
def cluster(start_redis: StartRedis) -> Iterator[Cluster]:
    with a_cluster(start_redis) as made:
        yield made


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


class Filled(NamedTuple):
    shop: Shop
    lost: list[str]  # paths of products whose entries are on that master
    kept: list[str]

    def outcomes(self, paths: list[str]) -> set[str]:
        return {self.shop.get(path).headers["X-Cache"] for path in paths}

    def outbox(self) -> int:
        with self.shop.app.app_context(), db.engine.connect() as connection:
            number: int = connection.scalar(text("SELECT count(*) FROM cache_outbox"))
            return number


@pytest.fixture
def filled(make_shop: Make, cluster: Cluster) -> Filled:
    """A shop with 30 products in the cache."""
    shop = make_shop(REDIS_URL=f"redis+cluster://127.0.0.1:{cluster.ports[0]}", REDIS_TIMEOUT="100")
    ids = [shop.create_product()["id"] for _ in range(30)]
    lost = [f"/products/{one}" for one in ids if cluster.holder(f"products:id:{one}") == LOST]
    kept = [f"/products/{one}" for one in ids if cluster.holder(f"products:id:{one}") != LOST]
    for name in ("products:id:generation", "rate_limit:127.0.0.1", "shop:owner"):
        assert cluster.holder(name) != LOST
    made = Filled(shop, lost, kept)
    made.outcomes(lost + kept)
    assert made.outcomes(lost + kept) == {"HIT"}
    return made


def topology_questions(cluster: Cluster) -> int:
    asked = 0
    for number in {0, 1, 2} - {LOST}:
        with cluster.client(number) as client:
            asked += client.info("commandstats").get("cmdstat_cluster|slots", {}).get("calls", 0)
    return asked


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_lost_shard_affects_only_its_own_keys(
    filled: Filled, cluster: Cluster, caplog: pytest.LogCaptureFixture, how: signal.Signals
) -> None:
    asked = topology_questions(cluster)
    os.kill(cluster.process(LOST), how)
    ends, longest = time.monotonic() + SECONDS, 0.0
    while time.monotonic() < ends:
        began = time.monotonic()
        assert filled.outcomes(filled.lost[:3]) == {"BYPASS"}
        assert filled.outcomes(filled.kept[:3]) == {"HIT"}
        longest = max(longest, time.monotonic() - began)
    assert longest < 1  # of six reads, once with a timeout
    assert said(caplog, OPENED) == 1
    assert said(caplog, BACK) == said(caplog, "counts alone") == 0
    assert topology_questions(cluster) - asked <= SECONDS / PROBE_SECONDS + 2  # the probe's own
    assert "shop_redis_breaker_open 1.0" in filled.shop.get("/metrics").text
    assert filled.shop.get("/health_check").get_json()["redis"] == "unreachable"


def test_a_shard_that_is_back_is_used_again(
    filled: Filled, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    process = cluster.process(LOST)
    os.kill(process, signal.SIGSTOP)
    assert filled.outcomes(filled.lost) == {"BYPASS"}
    os.kill(process, signal.SIGCONT)
    await_true(lambda: said(caplog, BACK))
    await_true(lambda: filled.outcomes(filled.lost + filled.kept) == {"HIT"})
    assert said(caplog, OPENED) == said(caplog, BACK) == 1


@pytest.mark.hurried
def test_a_write_to_a_lost_shard_is_never_missed(filled: Filled, cluster: Cluster) -> None:
    """The write goes through the outbox; every read computes until that is empty."""
    process = cluster.process(LOST)
    os.kill(process, signal.SIGSTOP)
    path = filled.lost[0]
    assert filled.shop.patch(path, stock=77).status_code == 200
    assert filled.outbox() > 0
    assert filled.outcomes(filled.kept[:3]) == {"BYPASS"}
    assert filled.shop.get(path).get_json()["stock"] == 77
    os.kill(process, signal.SIGCONT)
    await_true(lambda: filled.outcomes(filled.kept[:3]) == {"HIT"})
    assert filled.outbox() == 0
    assert filled.shop.get(path).get_json()["stock"] == 77


def test_a_replica_that_takes_over_is_used(
    filled: Filled,
    cluster: Cluster,
    start_redis: StartRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = start_master(start_redis)
    with cluster.client(LOST) as master, redis.Redis(port=port) as replica:
        name = master.execute_command("CLUSTER", "MYID")
        replica.execute_command("CLUSTER", "MEET", "127.0.0.1", cluster.ports[0])
        await_true(lambda: name in replica.execute_command("CLUSTER", "NODES"))
        replica.execute_command("CLUSTER", "REPLICATE", name)
        await_true(lambda: replica.info("replication").get("master_link_status") == "up")
    os.kill(cluster.process(LOST), signal.SIGKILL)
    assert filled.outcomes(filled.lost) == {"BYPASS"}
    await_true(lambda: filled.outcomes(filled.lost + filled.kept) == {"HIT"})
    assert said(caplog, OPENED) == said(caplog, BACK) == 1
