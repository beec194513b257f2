"""Sentinels that are gone, hung, or behind: requests never wait for them."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true
from ports import free_port

from shop.extensions import cache
from shop.redis import redis_connection
from shop.redis.sentinels import MasterReport, Sentinels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Shop, StartRedis

    from dev.embedded.home import Home

    Watch = Callable[..., list[int]]

FAILED = ["kill", "hang"]


@pytest.fixture
def sentinels(start_redis: StartRedis, home: Home) -> Watch:
    """Start sentinels of a master, and return their ports."""

    def start(master: int, count: int = 3) -> list[int]:
        ports = [free_port() for _ in range(count)]
        for port in ports:
            config = home.directory(f"redis-{port}") / "sentinel.conf"
            config.write_text(f"sentinel monitor main 127.0.0.1 {master} 2\n")
            if home.account:
                os.chown(config, *home.account)
            start_redis(str(config), "--sentinel", port=port)
        return ports

    return start


@pytest.fixture
def behind(make_shop: Make, start_redis: StartRedis, sentinels: Watch) -> tuple[Shop, list[int]]:
    """A shop, and the ports of three sentinels that know its master."""
    ports = sentinels(start_redis())
    return make_shop(REDIS_URL=url_of(ports)), ports


def url_of(ports: list[int], more: str = "") -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"redis+sentinel://{hosts}/main/0{more}"


def process_of(port: int) -> int:
    with redis.Redis(port=port) as client:
        number: int = client.info("server")["process_id"]
        return number


@contextmanager
def failed(how: str, ports: list[int]) -> Iterator[None]:
    """Let servers be killed, or say nothing."""
    processes = [process_of(port) for port in ports]
    for process in processes:
        os.kill(process, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    try:
        yield
    finally:
        if how == "hang":
            for process in processes:
                os.kill(process, signal.SIGCONT)


def known(shop: Shop) -> Sentinels:
    found = redis_connection(shop.app).sentinels
    assert found
    return found


def silent(shop: Shop) -> Any:
    """Return the number of silent sentinels, by a new health check."""
    with shop.app.app_context():
        shop.app.extensions["shop.health"]._current = None  # an earlier check may still answer
    return shop.get("/health_check").get_json()["sentinels_unreachable"]


@pytest.mark.parametrize("how", FAILED)
@pytest.mark.parametrize("count", [1, 3])
def test_sentinels_that_do_not_answer_delay_no_request(
    behind: tuple[Shop, list[int]], how: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    shop, ports = behind
    shop.create_product()
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert silent(shop) == 0
    with failed(how, ports[:count]), caplog.at_level(logging.WARNING):
        await_true(lambda: known(shop).silent == count)
        for stock in range(5):
            with shop.app.app_context():
                cache.backend.watcher.check()
            assert cache_is_used(shop, stock)
        redis_connection(shop.app).client.connection_pool.disconnect()
        assert cache_is_used(shop, 9)  # by new connections
        report = [one for one in caplog.messages if "does not answer" in one]
        assert len(report) == count
        assert silent(shop) == count
        assert f"shop_redis_sentinels_unreachable {count}.0" in shop.get("/metrics").text
        assert shop.get("/health_check").get_json()["status"] == "ok"
    if how == "hang":
        await_true(lambda: known(shop).silent == 0)


def cache_is_used(shop: Shop, stock: int) -> bool:
    """Write, read, and tell whether Redis has done all of it."""
    assert shop.patch("/products/1", stock=stock).status_code == 200
    read = [shop.get("/products/1") for _ in range(2)]
    assert [one.get_json()["stock"] for one in read] == [stock] * 2
    with shop.app.app_context():
        return read[1].headers["X-Cache"] == "HIT" and len(cache.outbox) == 0


def test_no_request_asks_a_sentinel(
    make_shop: Make, start_redis: StartRedis, sentinels: Watch
) -> None:
    """A request that asks a hanging sentinel would wait for REDIS_TIMEOUT."""
    ports = sentinels(start_redis())
    shop = make_shop(REDIS_URL=url_of(ports), REDIS_TIMEOUT="5000")
    shop.create_product()
    assert shop.get("/products/1").headers["X-Cache"] == "MISS"
    with failed("hang", ports):
        began = time.monotonic()
        for _ in range(10):
            redis_connection(shop.app).client.connection_pool.disconnect()
            assert shop.get("/products/1").headers["X-Cache"] != "BYPASS"
            assert shop.patch("/products/1", stock=3).status_code == 200
        assert time.monotonic() - began < 5


def test_without_any_sentinel_a_shop_works_on_and_finds_them_later(
    make_shop: Make, start_redis: StartRedis, sentinels: Watch
) -> None:
    ports = sentinels(start_redis())
    with failed("hang", ports):
        shop = make_shop(REDIS_URL=url_of(ports))
        shop.create_product()
        assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    await_true(lambda: redis_connection(shop.app).available)
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_a_master_that_was_replaced_is_left_by_connections_in_use(
    make_shop: Make, start_redis: StartRedis, sentinels: Watch
) -> None:
    """The old master may live on, and take writes that no reader finds."""
    old, new = start_redis(), start_redis()
    ports = sentinels(old)
    shop = make_shop(REDIS_URL=url_of(ports))
    shop.create_product()
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    for port in ports:
        monitor(port, new)
    await_true(lambda: known(shop).master == ("127.0.0.1", new))
    with redis.Redis(port=old) as client:
        before = client.info("commandstats")
        assert shop.patch("/products/1", stock=9).status_code == 200
        assert shop.get("/products/1").get_json()["stock"] == 9
        assert client.info("commandstats").get("cmdstat_evalsha") == before.get("cmdstat_evalsha")
    with redis.Redis(port=new) as client:
        assert client.exists("products:id:1")


def monitor(sentinel: int, master: int) -> None:
    with redis.Redis(port=sentinel) as client:
        client.execute_command("SENTINEL", "REMOVE", "main")
        client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", master, 2)


def test_sentinels_with_a_login_of_their_own(
    make_shop: Make, start_redis: StartRedis, sentinels: Watch
) -> None:
    ports = sentinels(start_redis(), 1)
    with redis.Redis(port=ports[0]) as client:
        client.execute_command("ACL", "SETUSER", "watch", "on", ">word", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    login = "?sentinel_username=watch&sentinel_password=word"
    shop = make_shop(REDIS_URL=url_of(ports, login))
    shop.create_product()
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    stranger = make_shop(REDIS_URL=url_of(ports, login.replace("=word", "=other")))
    assert stranger.get("/products/1").headers["X-Cache"] == "BYPASS"


OLD, NEW = ("10.0.0.1", 1), ("10.0.0.2", 1)


def test_a_sentinel_that_is_behind_does_not_lead_back() -> None:
    """The sentinel was cut off during a failover, and the two that know of it are gone now."""
    one = Sentinels("main", dict.fromkeys([("a", 1), ("b", 1), ("c", 1)]))  # type: ignore[arg-type]
    one._note(("a", 1), MasterReport(4, OLD), "")
    one._note(("b", 1), MasterReport(5, NEW), "")
    assert one.master == NEW
    one._note(("a", 1), MasterReport(4, OLD), "")
    one._note(("b", 1), None, "gone")
    one._note(("a", 1), MasterReport(4, OLD), "")
    assert (one.master, one.silent) == (NEW, 1)


def test_reset_sentinels_are_followed_when_most_agree() -> None:
    """Their epochs begin with 0 again."""
    one = Sentinels("main", dict.fromkeys([("a", 1), ("b", 1), ("c", 1)]))  # type: ignore[arg-type]
    one._note(("a", 1), MasterReport(5, OLD), "")
    one._note(("b", 1), MasterReport(0, NEW), "")
    one._note(("c", 1), MasterReport(0, NEW), "")
    assert one.master == OLD
    one._note(("a", 1), MasterReport(0, NEW), "")
    assert one.master == NEW


def test_a_majority_of_outdated_sentinels_does_no_harm() -> None:
    """Right after a failover only its leader knows of it."""
    one = Sentinels("main", dict.fromkeys([("a", 1), ("b", 1), ("c", 1)]))  # type: ignore[arg-type]
    seen = set()
    for place in ("a", "b", "c"):
        one._note((place, 1), MasterReport(4, OLD), "")
    for place, report in [
        ("a", MasterReport(5, NEW)),
        ("b", MasterReport(4, OLD)),
        ("c", MasterReport(4, OLD)),
    ] * 3:
        one._note((place, 1), report, "")
        seen.add(one.master)
    assert seen == {NEW}
