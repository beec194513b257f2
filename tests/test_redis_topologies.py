"""Redis in the other forms that REDIS_URL can name: a cluster, and a master behind a sentinel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true
from ports import free_cluster_port, free_port

from shop.extensions import cache
from shop.redis import redis_connection

if TYPE_CHECKING:
    from conftest import Make, Shop, StartRedis

    from dev.embedded.home import Home


DEAREST = "/products?sort=-price&total=true&facets=price"
IN_STOCK = "/products?in_stock=true"
CHOSEN = "/products?id=3,1&sku=RAKE-4,RAKE-9&include=category"


def use(shop: Shop) -> None:
    """Read, write and read again, by rows, by pages and by lists, and clear."""
    for n in range(5):
        shop.create_product(name=f"Rake {n}", price=10 + n, sku=f"RAKE-{n}")
    use_lists(shop)
    for path in ("/products", "/products/3", "/categories"):
        assert shop.get(path).headers["X-Cache"] in {"MISS", "HIT"}
        assert shop.get(path).headers["X-Cache"] == "HIT"
    assert shop.patch("/products/3", stock=30).status_code == 200
    assert shop.get("/products").get_json()["items"][2]["stock"] == 30
    assert shop.delete("/products/3").status_code == 204
    assert len(shop.get("/products").get_json()["items"]) == 4
    assert shop.get("/products").headers["RateLimit"].startswith('"default"')
    key = shop.command("keys", "create", "--name", "x", "--tier", "partner").stdout.strip()
    callers = [{"Authorization": f"Bearer {key}"}, shop.open_session()]
    for statements in (2, 0):
        with shop.statements() as sent:
            told = [shop.get("/rate_limit", headers=one).get_json()["client"] for one in callers]
        assert [one.split(":")[0] for one in told] == ["key", "session"]
        assert len(sent) == statements
    assert shop.command("keys", "revoke", key.split("_")[1]).exit_code == 0
    assert shop.get("/rate_limit", headers=callers[0]).get_json()["client"] == "127.0.0.1"
    assert redis_connection(shop.app).available
    for command in (
        ("cache", "warm"),
        ("cache", "stats"),
        ("cache", "show", "products:id:1"),
        ("cache", "clear", "all"),
        ("limits", "list"),
        ("limits", "top"),
        ("limits", "show", "127.0.0.1"),
        ("limits", "reset", "127.0.0.1"),
    ):
        result = shop.command(*command)
        assert result.exit_code == 0, result.output
    assert shop.get("/products").headers["X-Cache"] == "MISS"
    order = shop.place_order(1)
    assert shop.get("/products/trending").get_json()["items"]
    assert shop.move_order(order["id"], "cancel").status_code == 200
    assert not shop.get("/products/trending").get_json()["items"]


def use_lists(shop: Shop) -> None:
    """Read lists, each of which depends on generations on several servers of a cluster."""
    for path in (DEAREST, CHOSEN, "/products?max_price=12", "/categories?include=counts"):
        assert [shop.get(path).headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"], path
    assert shop.patch("/products/1", price=99).status_code == 200
    dearest = shop.get(DEAREST).get_json()
    assert [row["id"] for row in dearest["items"]] == [1, 5, 4, 3, 2]
    assert [row["price"] for row in shop.get(CHOSEN).get_json()["items"]][1] == "99.00"
    assert len(shop.get("/products?max_price=12").get_json()["items"]) == 2
    assert shop.patch("/products/1", price=10).status_code == 200
    assert [row["id"] for row in shop.get(DEAREST).get_json()["items"]] == [5, 4, 3, 2, 1]
    assert shop.get(DEAREST).headers["X-Cache"] == "HIT"


@pytest.mark.parametrize("prefix", ["", "shop-1:"])
def test_a_cluster_is_used_like_one_server(
    make_shop: Make, start_redis: StartRedis, prefix: str
) -> None:
    port = free_cluster_port()
    start_redis("--cluster-enabled", "yes", port=port)
    with redis.Redis(port=port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await_true(lambda: client.cluster("info")["cluster_state"] == "ok")
        use(make_shop(REDIS_URL=f"redis+cluster://127.0.0.1:{port}", REDIS_KEY_PREFIX=prefix))
        names = [name.decode() for name in client.scan_iter()]
    assert names
    assert all(name.startswith(prefix) for name in names)


def test_all_names_begin_with_the_prefix(make_shop: Make, redis_cli: Any) -> None:
    use(make_shop(REDIS_KEY_PREFIX="shop.1_"))
    names = redis_cli.keys("*")
    assert "shop.1_shop:owner" in names
    assert all(name.startswith("shop.1_") for name in names)


def test_without_its_cluster_a_shop_works_on(make_shop: Make) -> None:
    shop = make_shop(REDIS_URL="redis+cluster://127.0.0.1:1")
    shop.create_product()
    assert shop.get("/products").headers["X-Cache"] == "BYPASS"
    assert shop.command("cache", "stats").exit_code == 1


def test_a_new_master_is_given_new_generations(
    make_shop: Make, start_redis: StartRedis, home: Home
) -> None:
    """Other workers may have filled it while this one still wrote to the old master."""
    old, new, port = start_redis(), start_redis(), free_port()
    config = home.directory(f"redis-{port}") / "sentinel.conf"
    config.write_text(
        f"sentinel monitor main 127.0.0.1 {old} 1\nsentinel failover-timeout main 1000\n"
    )
    if home.account:
        os.chown(config, *home.account)
    start_redis(str(config), "--sentinel", port=port)
    behind = make_shop(REDIS_URL=f"redis+sentinel://127.0.0.1:{port}/main/0")
    ahead = make_shop(REDIS_URL=f"redis://127.0.0.1:{new}/0")
    behind.create_product(stock=3)
    behind.create_product(stock=0)
    assert [behind.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert ahead.get("/products/1").get_json()["stock"] == 3  # a worker that has moved on
    for shop in (behind, ahead):
        assert [shop.get(IN_STOCK).headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert behind.patch("/products/1", stock=9).status_code == 200  # told to the old master
    assert behind.patch("/products/2", stock=9).status_code == 200  # which forgets by a tag
    with redis.Redis(port=port) as sentinel:
        sentinel.execute_command("SENTINEL", "REMOVE", "main")
        sentinel.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", new, 1)
    sentinels = redis_connection(behind.app).sentinels
    assert sentinels
    await_true(lambda: sentinels.master == ("127.0.0.1", new))
    with behind.app.app_context():
        cache.backend.watcher.check()
    assert ahead.get("/products/1").get_json()["stock"] == 9
    assert len(ahead.get(IN_STOCK).get_json()["items"]) == 2
    assert behind.get("/products/1").headers["X-Cache"] == "HIT"
    behind.patch("/products/1", stock=10)
    assert ahead.get("/products/1").get_json()["stock"] == 10


def test_the_master_behind_a_sentinel_is_used(
    make_shop: Make, start_redis: StartRedis, home: Home
) -> None:
    master = start_redis()
    port = free_port()
    config = home.directory(f"redis-{port}") / "sentinel.conf"
    config.write_text(f"sentinel monitor main 127.0.0.1 {master} 1\n")
    if home.account:
        os.chown(config, *home.account)
    start_redis(str(config), "--sentinel", port=port)
    use(make_shop(REDIS_URL=f"redis+sentinel://127.0.0.1:{port}/main/0"))
