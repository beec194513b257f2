"""A cluster of three masters, one of which is lost: it costs what is on it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
from conftest import await_true, free_port
from redis.crc import key_slot
from sqlalchemy import text

from shop.extensions import db
from shop.redis import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop, StartRedis

SLOTS = 16384
PORTS = 55_000  # the port of a cluster's bus is 10,000 higher
LOST = 1  # the number of a master that has entries, and no name that all requests need
SECONDS = 3
OPENED = "Redis cannot be reached (node "
BACK = "Redis answers again (node "


class Cluster(NamedTuple):
    ports: list[int]

    def client(self, number: int) -> Any:
        return redis.Redis(port=self.ports[number], socket_timeout=5)

    def process(self, number: int) -> int:
        with self.client(number) as client:
            found: int = client.info("server")["process_id"]
            return found

    def holder(self, name: str) -> int:
        """Return the number of the master that has a name."""
        return 3 * key_slot(name.encode()) // SLOTS

    def is_well(self) -> bool:
        return all(self._knows_all(number) for number in range(3))

    def _knows_all(self, number: int) -> bool:
        with self.client(number) as client:
            state = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in state and "cluster_known_nodes:3" in state


def start_master(start_redis: StartRedis) -> int:
    port = next(port for port in iter(free_port, None) if port < PORTS)
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
    options += ["--cluster-require-full-coverage", "no"]
    return start_redis(*options, port=port)


@pytest.fixture
def cluster(start_redis: StartRedis) -> Iterator[Cluster]:
    ports: list[int] = []
    for number in range(3):
        port = start_master(start_redis)
        ports.append(port)
        first, last = -(-SLOTS * number // 3), -(-SLOTS * (number + 1) // 3) - 1
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
    made = Cluster(ports)
    await_true(made.is_well)
    processes = [made.process(number) for number in range(3)]
    yield made
    for process in processes:
        try:
            os.kill(process, signal.SIGCONT)
        except ProcessLookupError:
            continue


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
    shop = make_shop(REDIS_URL=f"redis+cluster://127.0.0.1:{cluster.ports[0]}")
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
def test_a_lost_shard_costs_its_own_names_once(
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
    """It goes through the outbox; until that is empty, every read computes."""
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
