"""Redis stopped, hung, full, restarted: right answers all the while, and soon."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true, hung

from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from conftest import Make, MakeRelay, Shop

    from dev.embedded.servers import Redis


@pytest.fixture
def shop(make_shop: Make, own_redis: Redis) -> Shop:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.create_product()
    return shop


def available(shop: Shop) -> bool:
    return redis_connection(shop.app).available


def use_all_calls(shop: Shop) -> None:
    """Read and write by every kind of call; each must succeed and be seen."""
    stock = shop.get("/products/1").get_json()["stock"] + 1
    assert shop.patch("/products/1", stock=stock).status_code == 200
    assert shop.get("/products/1").get_json()["stock"] == stock
    created = shop.create_product(name="Broom")
    listed = shop.get("/products?limit=100").get_json()["items"]
    assert created in listed
    assert shop.delete(f"/products/{created['id']}").status_code == 204
    assert shop.get(f"/products/{created['id']}").status_code == 404


def test_with_redis_stopped_everything_works(shop: Shop, own_redis: Redis) -> None:
    use_all_calls(shop)
    own_redis.stop()
    use_all_calls(shop)
    assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"


def test_without_redis_from_the_start_everything_works(make_shop: Make) -> None:
    shop = make_shop(REDIS_URL="redis://127.0.0.1:1/0")
    shop.create_product()
    use_all_calls(shop)


def test_redis_is_used_again_when_it_is_back(shop: Shop, own_redis: Redis) -> None:
    own_redis.stop()
    assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    own_redis.start()
    await_true(lambda: available(shop), "the breaker closes")
    assert shop.get("/products/1").headers["X-Cache"] == "MISS"
    assert shop.get("/products/1").headers["X-Cache"] == "HIT"
    use_all_calls(shop)


def test_a_restart_between_two_requests_is_not_noticed(shop: Shop, own_redis: Redis) -> None:
    shop.get("/products/1")
    own_redis.stop()
    own_redis.start()
    use_all_calls(shop)
    assert available(shop)


def test_a_hanging_redis_is_not_used_until_it_answers(shop: Shop, own_redis: Redis) -> None:
    """A read, a page and a write, each the first to meet the hanging server."""
    for method, path, fields in (
        ("GET", "/products/1", None),
        ("GET", "/products", None),
        ("PATCH", "/products/1", {"stock": 7}),
    ):
        shop.get("/products")
        with hung(own_redis):
            assert shop.request(method, path, json=fields).status_code == 200
            assert not available(shop)
            assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
        await_true(lambda: available(shop), "the breaker closes")


def test_a_script_that_times_out_is_not_repeated(
    make_shop: Make, relay: MakeRelay, redis_server: Redis
) -> None:
    """Another connection would have an answer: a script whose connection breaks is repeated."""
    way = relay(redis_server.socket)
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}/0")
    shop.create_product()
    connection = redis_connection(shop.app)
    count = "return redis.call('INCR', KEYS[1])"
    assert connection.eval(count, ["sent"], []) == 1
    way.forget()
    with pytest.raises(RedisUnavailable) as raised:
        connection.eval(count, ["sent"], [], again=[])
    assert isinstance(raised.value.__cause__, redis.TimeoutError)
    await_true(lambda: available(shop), "the breaker closes")
    assert connection.eval(count, ["sent"], []) == 2


@pytest.mark.parametrize(("method", "path"), [("GET", "/products"), ("POST", "/categories")])
def test_a_request_waits_for_a_silent_redis_once(make_shop: Make, method: str, path: str) -> None:
    """It waits for one timeout to connect and one to read: 200 ms at most."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        shop = make_shop(REDIS_URL=url, REDIS_TIMEOUT="100")
        client = redis_connection(shop.app).client
        options = client.connection_pool.connection_kwargs
        assert options["socket_connect_timeout"] + options["socket_timeout"] <= 0.2
        tried: list[str] = []
        connect_one = client.connection_pool.get_connection

        def note(*arguments: Any, **options: Any) -> Any:
            tried.append(threading.current_thread().name.partition("_")[0])
            return connect_one(*arguments, **options)

        client.connection_pool.get_connection = note
        response = shop.request(method, path, json={"name": "Garden"})
        assert response.status_code in {200, 201}
        assert [name for name in tried if name != "redis-probe"] == ["request"]


def test_one_thread_probes_redis_after_several_failed_calls(make_shop: Make) -> None:
    shop = make_shop(REDIS_URL="redis://127.0.0.1:1/0")
    connection = redis_connection(shop.app)

    def fail() -> None:
        with pytest.raises(RedisUnavailable):
            connection.call(lambda client: client.ping())

    before = {thread for thread in threading.enumerate() if thread.name == "redis-probe"}
    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    probes = {thread for thread in threading.enumerate() if thread.name == "redis-probe"}
    assert len(probes - before) == 1


def test_a_redis_that_is_full_costs_only_the_cache(shop: Shop, own_redis: Redis) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        product = shop.get("/products/1")
        assert (product.status_code, product.headers["X-Cache"]) == (200, "MISS")
        assert shop.patch("/products/1", stock=70).status_code == 200
        assert shop.get("/products/1").get_json()["stock"] == 70
        client.config_set("maxmemory", "0")
        assert len(shop.get("/products").get_json()["items"]) == 1
        client.config_set("maxmemory", "1")
        created = shop.create_product(name="Broom")
        client.config_set("maxmemory", "0")
        assert created in shop.get("/products").get_json()["items"]


def test_a_redis_that_refuses_to_count_leaves_each_worker_its_share(
    make_shop: Make, own_redis: Redis
) -> None:
    shop = make_shop(REDIS_URL=own_redis.url, RATE_LIMIT_CALLS="6", WEB_CONCURRENCY="3")
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        assert [shop.get("/products").status_code for _ in range(3)] == [200, 200, 429]
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize(
    "denied",
    [
        ("acl", "setuser", "default", "-mget"),
        ("acl", "setuser", "default", "-ping", "-eval"),
        ("config", "set", "replica-serve-stale-data", "no"),
    ],
)
def test_a_redis_that_answers_with_errors_is_no_fault(
    shop: Shop, own_redis: Redis, denied: tuple[str, ...]
) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        client.execute_command(*denied)
        if "config" in denied:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
    use_all_calls(shop)
    assert shop.get("/health_check").status_code == 200


def test_commands_without_redis_end_with_one_line(make_shop: Make) -> None:
    unreachable = make_shop(REDIS_URL="redis://127.0.0.1:1/0")
    disabled = make_shop(REDIS_ENABLED="false")
    for arguments in (
        ("cache", "stats"),
        ("cache", "show", "products:id:1"),
        ("cache", "warm"),
        ("limits", "show", "127.0.0.1"),
        ("limits", "reset", "127.0.0.1"),
    ):
        for shop, reason in ((unreachable, "does not answer"), (disabled, "switched off")):
            result = shop.command(*arguments)
            assert result.exit_code == 1
            assert result.stderr.startswith("Error: Redis")
            assert reason in result.stderr


def test_a_worker_with_too_few_connections_finds_redis_again(make_shop: Make) -> None:
    """Connections that scripts keep are available to the probe."""
    connection = redis_connection(make_shop().app)
    connection.client.connection_pool.max_connections = 1
    connection.eval("return 1", [], [])
    with pytest.raises(RedisUnavailable):  # the one connection is in use
        connection.call(lambda client: client.ping())
    await_true(lambda: connection.available)
