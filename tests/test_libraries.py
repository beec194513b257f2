"""The calls of Flask-Caching and Flask-Limiter on a cluster, and as a user of few rights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from clustered import Cluster, a_cluster
from flask_limiter import commands

from shop.extensions import cache
from shop.limits import limiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop, StartRedis

DOCUMENT = Path(__file__).parent.parent / "docs" / "redis.md"
USER = re.compile(r"redis-cli ACL SETUSER (shop (?:.*\\\n)*.*)")


@pytest.fixture(scope="module")
def cluster(start_redis: StartRedis) -> Iterator[Cluster]:
    with a_cluster(start_redis) as made:
        yield made


@pytest.fixture
def shop(make_shop: Make, cluster: Cluster) -> Shop:
    cluster.flush()
    return make_shop(REDIS_URL=cluster.url, REDIS_TIMEOUT="60000", RATE_LIMIT_CALLS="5")


def test_entries_and_values_obey_the_protocol(shop: Shop) -> None:
    shop.create_product(stock=3)
    shop.get("/products/1")
    keys = [f"banner:{number}" for number in range(9)]  # on all masters
    with shop.app.app_context():
        assert cache.get("products:id:1")["stock"] == 3
        assert cache.get_many(*keys) == [None] * 9
        assert cache.set_many(dict.fromkeys(keys, "Until Sunday")) == keys
        assert cache.get_many(*keys) == ["Until Sunday"] * 9
        assert cache.delete_many("products:id:1", *keys[:8])
        assert [cache.has(key) for key in ("products:id:1", *keys)] == [False] * 9 + [True]
        assert cache.clear()
        assert not cache.has(keys[8])


def test_limits_are_shown_and_cleared(shop: Shop) -> None:
    addresses = [f"192.0.2.{number}" for number in range(9)]  # on all masters
    for one in addresses:
        shop.get("/products", environ_base={"REMOTE_ADDR": one})
    runner = shop.app.test_cli_runner()
    shown = runner.invoke(commands.cli, ["limits", "--key", addresses[0]], env={"COLUMNS": "300"})
    assert "5 per 60 second: Pass (4 out of 5 remaining)" in shown.output
    runner.invoke(commands.cli, ["clear", "--key", addresses[0], "-y"])
    with shop.app.app_context():
        counter = shop.app.extensions["shop.limits"].counter
        assert [counter.usage_of(one, "default", 5, 60).used for one in addresses] == [0] + [1] * 8
        limiter.reset()
        assert [counter.usage_of(one, "default", 5, 60).used for one in addresses] == [0] * 9


def test_the_documented_acl_user_may_run_every_library_call(
    make_shop: Make, start_redis: StartRedis
) -> None:
    port = start_redis()
    [user] = USER.findall(DOCUMENT.read_text())
    with redis.Redis(port=port) as client:
        client.execute_command("ACL SETUSER", *shlex.split(user.replace("\\\n", "")))
    shop = make_shop(REDIS_URL=f"redis://shop:PASSWORD@127.0.0.1:{port}/0")
    shop.create_product(stock=3)
    shop.get("/products/1")
    with shop.app.app_context():
        assert cache.get("products:id:1")["stock"] == 3
        assert cache.set("banner", "Until Sunday")
        assert cache.get("banner") == "Until Sunday"
        assert cache.delete_many("products:id:1", "banner")
        assert cache.clear()
        assert len(cache.outbox) == 0
        limiter.storage.clear("LIMITER/127.0.0.1/default/100/60/second")
        limiter.reset()
        with redis.Redis(port=port) as client:
            assert client.keys("rate_limit:*") == []
