"""A Redis that answers, and refuses connections or commands."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true

from shop.redis import PROBE_SECONDS, redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Shop, StartRedis

    Started = tuple[Any, Callable[..., Shop]]

READS = 20
OPENED = "cannot be reached, reads go to the database"
BACK = "Redis answers again"
ACL = ["reset", "on", ">secret", "~*", "+@all"]


@pytest.fixture
def started(make_shop: Make, start_redis: StartRedis) -> Iterator[Started]:
    """A Redis of its own, and how a shop is made that uses it."""
    port = start_redis("--enable-debug-command", "yes")
    made: list[Shop] = []

    def make(login: str = "", database: str = "0", url: str = "", **changes: str) -> Shop:
        url = url or f"redis://{login}127.0.0.1:{port}/{database}"
        shop = make_shop(REDIS_URL=url, **changes)
        made.append(shop)
        shop.create_product()
        return shop

    with redis.Redis(port=port) as client:
        yield client, make
    for shop in made:
        end_probes(shop)


def end_probes(shop: Shop) -> None:
    """Let the threads that wait for Redis say nothing in the next test."""
    connection = redis_connection(shop.app)
    connection.enabled = shop.app.extensions["shop.limits"].counter._is_logged = False
    connection._breaker._probe = lambda: None
    await_true(lambda: not connection._breaker.is_open)


def connections_of(client: Any) -> int:
    return int(client.info("stats")["total_connections_received"])


def said(caplog: pytest.LogCaptureFixture, *texts: str) -> int:
    """Count the lines that have all texts."""
    lines = [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]
    return sum(all(text in line for text in texts) for line in lines)


def assert_left_alone(
    shop: Shop, client: Any, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    """Assert that reads do without Redis and new connections, and one log line says why."""
    shop.get("/products/1")
    before, began = connections_of(client), time.monotonic()
    for _ in range(READS):
        answer = shop.get("/products/1")
        assert (answer.status_code, answer.headers["X-Cache"]) == (200, "BYPASS")
    # Nobody connects but the probe: twice at most each time, because it may ask for the owner.
    probes = (time.monotonic() - began) / PROBE_SECONDS + 2
    assert connections_of(client) - before <= 2 * probes < READS
    time.sleep(2 * PROBE_SECONDS)  # in which a probe that asks less than a request would close it
    assert not redis_connection(shop.app).available
    assert said(caplog, OPENED, reason) == 1
    assert said(caplog, BACK) == said(caplog, "Redis counts again") == 0
    assert len([one for one in caplog.records if one.name == "shop.limits"]) <= 2


def unknown_database(_: Any) -> dict[str, str]:
    return {"database": "99"}


def no_password(client: Any) -> dict[str, str]:
    client.config_set("requirepass", "secret")
    return {}


def wrong_password(client: Any) -> dict[str, str]:
    client.execute_command("ACL", "SETUSER", "shop", *ACL)
    return {"login": "shop:wrong@"}


def no_right_to_select(client: Any) -> dict[str, str]:
    client.execute_command("ACL", "SETUSER", "shop", *ACL, "-select")
    return {"login": "shop:secret@", "database": "1"}


def too_many_clients(client: Any) -> dict[str, str]:
    client.config_set("maxclients", "1")
    return {}


def a_replica(client: Any) -> dict[str, str]:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    return {}


def a_replica_without_master(client: Any) -> dict[str, str]:
    client.config_set("replica-serve-stale-data", "no")
    return a_replica(client)


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (unknown_database, "DB index is out of range"),
        (no_password, "HELLO must be called with the client already authenticated"),
        (wrong_password, "invalid username-password pair"),
        (no_right_to_select, "'select'"),
        (too_many_clients, "max number of clients"),
        (a_replica, "read only replica"),
        (a_replica_without_master, "read only replica"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_redis_that_refuses_commands_is_not_used(
    started: Started,
    caplog: pytest.LogCaptureFixture,
    refuse: Callable[[Any], dict[str, str]],
    reason: str,
) -> None:
    client, make = started
    client.ping()  # the one connection that there may be
    shop = make(**refuse(client))
    assert_left_alone(shop, client, caplog, reason)


def test_a_redis_without_hello_is_not_used(
    make_shop: Make, start_redis: StartRedis, caplog: pytest.LogCaptureFixture
) -> None:
    port = start_redis("--rename-command", "HELLO", "")
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    shop.create_product()
    with redis.Redis(port=port, protocol=2) as client:
        assert_left_alone(shop, client, caplog, "unknown command 'HELLO'")
    end_probes(shop)


def own_address() -> str:
    """Return an address of this machine that is not loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, suppress(OSError):
        way.connect(("192.0.2.1", 9))
        address: str = way.getsockname()[0]
        return address
    return pytest.skip("this machine has no address but loopback")


def test_a_redis_in_protected_mode_is_not_used(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    """Protected mode refuses clients that do not come by loopback."""
    client, make = started
    address = own_address()
    client.config_set("bind", f"127.0.0.1 {address}")
    port = client.connection_pool.connection_kwargs["port"]
    shop = make(url=f"redis://{address}:{port}/0")
    assert_left_alone(shop, client, caplog, "protected mode")


def test_redis_is_used_again_when_it_accepts_the_password(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    client, make = started
    client.execute_command("ACL", "SETUSER", "shop", *ACL)
    shop = make("shop:right@")
    assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    client.execute_command("ACL", "SETUSER", "shop", ">right")
    await_true(lambda: redis_connection(shop.app).available)
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert said(caplog, BACK) == 1


def send(client: Any, *command: Any) -> Any:
    """Send a command over a connection of its own, which is returned before it has the answer."""
    port = client.connection_pool.connection_kwargs["port"]
    connection: Any = redis.Redis(port=port, socket_timeout=60).connection_pool.get_connection()
    connection.send_command(*command)
    return connection


def test_a_redis_that_loads_its_data_is_not_used(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    client, make = started
    shop = make()
    shop.get("/products/1")
    client.execute_command("DEBUG", "POPULATE", 2000, "key", 100)
    client.config_set("appendonly", "yes")
    await_true(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    client.config_set("key-load-delay", 2000)  # microseconds
    client.config_set("loading-process-events-interval-bytes", 1024)
    loader = send(client, "DEBUG", "LOADAOF")
    await_true(lambda: client.info("persistence")["loading"] == 1)
    for _ in range(READS):
        assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    assert not redis_connection(shop.app).available
    assert said(caplog, OPENED, "loading the dataset") == 1
    with suppress(redis.RedisError):
        loader.read_response()
    loader.disconnect()
    await_true(lambda: redis_connection(shop.app).available)


def test_a_redis_that_is_busy_with_a_script_is_not_used(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    client, make = started
    shop = make()
    shop.get("/products/1")
    client.config_set("busy-reply-threshold", "1")
    endless = send(client, "EVAL", "while true do end", 0)
    await_true(lambda: is_busy(client))
    for _ in range(READS):
        assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    assert not redis_connection(shop.app).available
    client.script_kill()
    endless.disconnect()
    await_true(lambda: redis_connection(shop.app).available)
    assert said(caplog, OPENED, "busy") == 1


def is_busy(client: Any) -> bool:
    try:
        return not client.ping()
    except redis.ResponseError:
        return True


def test_a_user_without_scripts_costs_one_log_line(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    client, make = started
    client.execute_command("ACL", "SETUSER", "shop", *ACL, "-evalsha")
    shop = make("shop:secret@")
    before = connections_of(client)
    for _ in range(READS):
        assert shop.get("/products/1").status_code == 200
    assert connections_of(client) - before <= 2
    time.sleep(3 * PROBE_SECONDS)
    for _ in range(READS):
        assert shop.get("/products/1").status_code == 200
    assert said(caplog, "Redis counts again") == 0
    assert len([one for one in caplog.records if one.name == "shop.limits"]) <= 2


def test_a_full_redis_is_still_read_and_costs_one_log_line(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    client, make = started
    shop = make(RATE_LIMIT_ENABLED="false")
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    for _ in range(READS):
        assert shop.get("/products").status_code == 200
        assert shop.get("/products/1").headers["X-Cache"] == "HIT"
    assert redis_connection(shop.app).available
    told = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(told) <= 2, told
