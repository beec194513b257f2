"""Flask-Limiter's own calls and commands show and clear the records that decide."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import records
from conftest import await_true, hung
from flask_limiter import commands
from limits import RateLimitItemPerSecond

from shop.keys import service as keys
from shop.limits import limiter
from shop.limits.storage import RecordStorage, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Shop

    from dev.embedded.servers import Redis

CLIENT = "127.0.0.1"
LIMITS = {"RATE_LIMIT_CALLS": "5", "WRITE_LIMIT_CALLS": "2", "SESSION_LIMIT_CALLS": "1"}


@pytest.fixture
def limited(make_shop: Make) -> Shop:
    shop = make_shop(**LIMITS)
    shop.key = None
    return shop


def run(shop: Shop, *arguments: str, status: int = 0) -> str:
    """Run `flask limiter`, and return what it shows."""
    runner = shop.app.test_cli_runner()
    result = runner.invoke(commands.cli, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    return result.output


def used(redis_cli: Any, client: str = CLIENT) -> dict[str, str]:
    return records.used(redis_cli.get(f"rate_limit:{client}"))


def left(quota: int, client: str, policy: str) -> int:
    """Return what the library says that is left."""
    return limiter.limiter.get_window_stats(
        RateLimitItemPerSecond(quota, 60), client, policy
    ).remaining


# Commands.


def test_config_shows_the_storage_and_the_strategy(limited: Shop) -> None:
    shown = run(limited, "config")
    assert "MovingWindowRateLimiter" in shown
    assert "shop-records://" in shown
    assert "RecordStorage" in shown
    assert "rate_limit:* in Redis" in shown
    assert "OK" in shown


def test_config_shows_that_redis_does_not_answer(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    with hung(own_redis):
        assert "Error" in run(shop, "config")
    assert "OK" not in run(make_shop(REDIS_ENABLED="false"), "config")


def test_limits_shows_the_usage_that_decides_the_next_request(limited: Shop) -> None:
    for remaining in (4, 3, 2, 1, 0):
        assert limited.get("/products").headers["X-RateLimit-Remaining"] == str(remaining)
        shown = run(limited, "limits", "--key", CLIENT)
        verdict = "Pass" if remaining else "Fail"
        assert f"5 per 60 second: {verdict} ({remaining} out of 5 remaining)" in shown
        assert f": Pass ({45 + remaining} out of 50 remaining)" in shown
    assert limited.get("/products").status_code == 429


def test_limits_shows_the_policies_of_a_route(limited: Shop) -> None:
    limited.post("/categories", name="Garden")
    shown = run(limited, "limits", "--key", CLIENT, "--endpoint", "categories.create_category")
    assert "2 per 60 second: Pass (1 out of 2 remaining)" in shown


def test_limits_charges_nothing(limited: Shop, redis_cli: Any) -> None:
    limited.get("/products")
    before = redis_cli.get(f"rate_limit:{CLIENT}")
    run(limited, "limits", "--key", CLIENT)
    assert redis_cli.get(f"rate_limit:{CLIENT}") == before


def test_limits_names_an_address_as_requests_do(limited: Shop) -> None:
    limited.get("/products", environ_base={"REMOTE_ADDR": "2001:db8::7"})
    for key in ("2001:db8::9", "2001:db8::/64", "rate_limit:2001:db8::/64"):
        assert "(4 out of 5 remaining)" in run(limited, "limits", "--key", key)
    assert "neither an address nor" in run(limited, "limits", "--key", "nobody", status=1)


def test_limits_refuses_a_client_of_other_quotas(limited: Shop) -> None:
    with limited.app.app_context():
        key = keys.create_key("tests", ["catalog:write"], "partner")
    limited.get("/products", headers={"Authorization": f"Bearer {key}"})
    client = f"key:{key.split('_')[1]}"
    for name in (client, "session:0123456789abcdef"):
        shown = run(limited, "limits", "--key", name, status=1)
        assert f"use `flask limits show {name}`" in shown
        assert "remaining" not in shown


def test_limits_shows_that_redis_does_not_answer(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    with hung(own_redis):
        shown = run(shop, "limits", "--key", CLIENT, "--endpoint", "categories.create_category")
    assert "Storage not available" in shown


def test_clear_gives_the_whole_quota_again(limited: Shop, redis_cli: Any) -> None:
    for _ in range(6):
        limited.get("/products")
    limited.get("/products", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    shown = run(limited, "clear", "--key", CLIENT, "-y")
    assert "Cleared" in shown
    assert not redis_cli.exists(f"rate_limit:{CLIENT}")
    assert used(redis_cli, "192.0.2.1") == {"default": "1/5", "address": "1/50"}
    assert limited.get("/products").headers["X-RateLimit-Remaining"] == "4"


def test_clear_of_a_route_leaves_other_policies(limited: Shop, redis_cli: Any) -> None:
    limited.post("/sessions")
    limited.post("/categories", name="Garden")
    before = used(redis_cli)
    assert before["write"] == "2/2"
    run(limited, "clear", "--key", CLIENT, "--endpoint", "categories.create_category", "-y")
    rest = used(redis_cli)
    assert "write" not in rest
    assert rest["session"] == before["session"] == "1/1"
    assert limited.get("/products").headers["RateLimit"].startswith('"default"')


def test_clear_of_a_key_and_of_a_session_is_of_their_own_records(
    limited: Shop, redis_cli: Any
) -> None:
    with limited.app.app_context():
        key = keys.create_key("tests", ["catalog:write"], "partner")
    session = limited.open_session()
    limited.get("/products", headers={"Authorization": f"Bearer {key}"})
    limited.get("/products", headers=session)
    names = set(redis_cli.keys("rate_limit:key:*")) | set(redis_cli.keys("rate_limit:session:*"))
    assert len(names) == 2
    for name in names:
        run(limited, "clear", "--key", name.removeprefix("rate_limit:"), "-y")
    assert not redis_cli.exists(*names)
    assert used(redis_cli)["address"] == "2/50"


def test_clear_without_redis_ends_with_one_line(make_shop: Make, own_redis: Redis) -> None:
    off = make_shop(REDIS_ENABLED="false")
    assert "Redis is switched off" in run(off, "clear", "--key", CLIENT, "-y", status=1)
    shop = make_shop(REDIS_URL=own_redis.url)
    with hung(own_redis):
        assert "Redis does not answer" in run(shop, "clear", "--key", CLIENT, "-y", status=1)


# Calls.


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_current_limits_are_the_policies_that_decided(make_shop: Make, mode: str) -> None:
    shop = make_shop(**LIMITS, RATE_LIMIT_MODE=mode)
    for remaining in (1, 0, 0):
        with shop.app.test_request_context(
            "/categories", method="POST", environ_base={"REMOTE_ADDR": CLIENT}
        ):
            shop.app.preprocess_request()
            write = next(one for one in limiter.current_limits if "/write/" in one.key)
            now = time.time()
            assert write.key == f"LIMITER/{CLIENT}/write/2/60/second"
            assert (write.limit.amount, write.remaining) == (2, remaining)
            assert now + 58 < write.reset_at <= now + 62
            assert limiter.current_limit
            assert limiter.current_limit.key == write.key
            policies = [one.key.split("/")[2] for one in limiter.current_limits]
            assert policies == ["default", "address", "write"]
    assert write.breached


def test_current_limits_name_the_charged_client(limited: Shop) -> None:
    session = limited.open_session()
    with limited.app.test_request_context(
        "/products", headers=session, environ_base={"REMOTE_ADDR": CLIENT}
    ):
        limited.app.preprocess_request()
        own, address = (one.key.split("/")[1] for one in limiter.current_limits)
    assert re.fullmatch("session:[0-9a-f]{16}", own)
    assert address == CLIENT


def test_current_limits_ask_redis_nothing(limited: Shop, redis_cli: Any) -> None:
    with limited.app.test_request_context("/products", environ_base={"REMOTE_ADDR": CLIENT}):
        limited.app.preprocess_request()
        redis_cli.config_resetstat()
        assert [one.remaining for one in limiter.current_limits] == [4, 49]
        assert "cmdstat_evalsha" not in redis_cli.info("commandstats")


def test_a_request_without_limits_has_none(limited: Shop) -> None:
    with limited.app.test_request_context("/livez"):
        limited.app.preprocess_request()
        assert limiter.current_limits == []
        assert limiter.current_limit is None


def test_current_limits_show_the_share_of_a_worker_without_redis(make_shop: Make) -> None:
    shop = make_shop(**LIMITS, REDIS_ENABLED="false", WEB_CONCURRENCY="1")
    with shop.app.test_request_context("/products", environ_base={"REMOTE_ADDR": CLIENT}):
        shop.app.preprocess_request()
        assert [one.remaining for one in limiter.current_limits] == [4, 49]
        assert left(5, CLIENT, "default") == 4


def test_a_key_can_read_its_own_quota(limited: Shop) -> None:
    with limited.app.app_context():
        key = keys.create_key("tests", ["catalog:write"], "partner")
    client = f"key:{key.split('_')[1]}"
    with limited.app.test_request_context("/products", headers={"Authorization": f"Bearer {key}"}):
        limited.app.preprocess_request()
        assert left(1000, client, "default") == 999


def test_reset_forgets_all_clients(limited: Shop, redis_cli: Any) -> None:
    limited.get("/products")
    limited.get("/products", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    with limited.app.app_context():
        limiter.reset()
    assert redis_cli.keys("rate_limit:*") == []
    assert limited.get("/products").headers["X-RateLimit-Remaining"] == "4"


def test_cleared_usage_is_not_owed(make_shop: Make, own_redis: Redis) -> None:
    """A worker in fallback does not charge Redis for usage that was cleared meanwhile."""
    shop = make_shop(**LIMITS, REDIS_URL=own_redis.url, WEB_CONCURRENCY="1")
    with shop.app.app_context():
        counter = shop.app.extensions["shop.limits"].counter
        with hung(own_redis):
            for _ in range(2):
                shop.get("/products", environ_base={"REMOTE_ADDR": CLIENT})
            assert counter.in_fallback
            with pytest.raises(Exception, match="Redis does not answer"):
                limiter.storage.clear(f"LIMITER/{CLIENT}/default/5/60/second")
        await_true(lambda: not counter.in_fallback)
        assert left(5, CLIENT, "default") == 5
        assert left(50, CLIENT, "address") == 48


@pytest.mark.parametrize(
    "call",
    [
        lambda item, key: limiter.limiter.hit(item, CLIENT, "default"),  # noqa: ARG005
        lambda item, key: limiter.storage.incr(key, item.get_expiry()),
        lambda item, key: RecordStorage().acquire_entry(key, item.amount, item.get_expiry()),
        lambda item, key: limiter.storage.get(key),  # noqa: ARG005
        lambda item, key: limiter.storage.get_expiry(key),  # noqa: ARG005
    ],
    ids=["hit", "incr", "acquire_entry", "get", "get_expiry"],
)
def test_calls_that_would_charge_past_the_scripts_refuse(
    limited: Shop, redis_cli: Any, call: Callable[[RateLimitItemPerSecond, str], Any]
) -> None:
    item = RateLimitItemPerSecond(5, 60)
    with limited.app.app_context(), pytest.raises(RefusedError, match=r"windows|shop\.limits"):
        call(item, item.key_for(CLIENT, "default"))
    assert not redis_cli.exists(f"rate_limit:{CLIENT}")


def test_limits_that_name_no_policy_are_refused(limited: Shop) -> None:
    with limited.app.app_context(), pytest.raises(RefusedError, match="none of the policies"):
        left(5, CLIENT, "products.list_products")


def test_a_request_filter_that_would_never_run_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"use limiter\.exempt"):
        limiter.request_filter(lambda: True)
