"""The cost of the lookup of a caller, and the client that it is charged to."""

from __future__ import annotations

import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import records
from conftest import ADMIN_KEY
from sqlalchemy import text

from shop.extensions import db
from shop.keys import service as keys
from shop.keys import valid_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, MakeRelay, Service, Shop

    from dev.embedded.servers import Postgres

LIMITS = {"RATE_LIMIT_CALLS": "5", "UNKNOWN_KEY_LIMIT_CALLS": "3", "ADDRESS_LIMIT_CALLS": "1000"}
PATHS = ("/products", "/cart", "/rate_limit", "/nothing", "/orders")


@pytest.fixture(params=["true", "false"], ids=["with the edge", "without it"])
def edge(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"EDGE_ENABLED": request.param}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def made_key(shop: Shop, tier: str = "standard") -> str:
    with shop.app.app_context():
        return keys.create_key("tests", ["catalog:write"], tier)


def random_key() -> str:
    return f"shop_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def random_token() -> str:
    return f"session_{secrets.token_urlsafe(32)}"


def other_secret(key: str) -> str:
    return f"{key[:-43]}{secrets.token_urlsafe(32)}"


def spend(shop: Shop) -> None:
    """Use up the quota of the address in `default`."""
    while shop.get("/nothing").status_code != 429:
        pass


def record_of(redis_cli: Any, client: str = "127.0.0.1") -> str:
    text: str = redis_cli.get(f"rate_limit:{client}") or ""
    return text


@pytest.mark.parametrize("draw", [random_key, random_token], ids=["keys", "sessions"])
def test_a_client_without_quota_causes_no_statement(
    make_shop: Make, redis_cli: Any, edge: dict[str, str], draw: Callable[[], str]
) -> None:
    """It leaves nothing in Redis, on any route."""
    shop = make_shop(**LIMITS, **edge)
    spend(shop)
    before = redis_cli.dbsize()
    with shop.statements() as sent:
        for path in PATHS * 5:
            for method in ("GET", "POST"):
                answer = shop.client.open(path, method=method, headers=bearer(draw()))
                assert answer.status_code == 429
                assert "default" in answer.get_json()["violated-policies"]
    assert sent == []
    assert redis_cli.dbsize() == before


@pytest.mark.parametrize("draw", [random_key, random_token], ids=["keys", "sessions"])
def test_no_more_credentials_are_looked_up_than_the_quota_has(
    make_shop: Make, draw: Callable[[], str]
) -> None:
    """Free requests and concurrent requests are included."""
    shop = make_shop(**LIMITS)
    shop.get("/nothing")

    def ask(n: int) -> int:
        path = PATHS[n % len(PATHS)]
        return shop.app.test_client().get(path, headers=bearer(draw())).status_code

    with shop.statements() as sent, ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(ask, range(60)))
    looked_up = [one for one in sent if "WHERE sessions." in one or "WHERE api_keys." in one]
    quota = 3 if draw is random_key else 4
    assert len(looked_up) == quota
    assert statuses.count(429) == 60 - quota


@pytest.mark.parametrize("path", ["/health_check", "/metrics"])
def test_an_unlimited_route_looks_up_no_caller(a_shop: Shop, path: str) -> None:
    a_shop.get(path)
    with a_shop.statements() as sent:
        for draw in (random_key, random_token):
            assert a_shop.get(path, headers=bearer(draw())).status_code == 200
    assert not [one for one in sent if "sessions" in one or "api_keys" in one]


def test_a_key_is_looked_up_once_and_then_costs_no_statement(a_shop: Shop, redis_cli: Any) -> None:
    key = made_key(a_shop, "partner")
    a_shop.get("/products")
    for statements in (1, 0):
        with a_shop.statements() as sent:
            told = a_shop.get("/rate_limit", headers=bearer(key)).get_json()
        assert told["tier"] == "partner"
        assert len(sent) == statements
    prefix = key.split("_")[1]
    entry = redis_cli.get(f"key:{prefix}")
    assert key.split("_", 2)[2] not in entry
    assert re.search(
        r'\n\{"hash":"[0-9a-f]{64}","scopes":\["catalog:write"\],"tier":"partner"\}$', entry
    )
    assert 0 < redis_cli.ttl(f"key:{prefix}") <= 300


def test_the_time_to_live_of_a_cached_key_is_a_setting(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(KEY_CACHE_TTL="7")
    key = made_key(shop)
    shop.get("/products", headers=bearer(key))
    assert 0 < redis_cli.ttl(f"key:{key.split('_')[1]}") <= 7


def test_a_wrong_secret_for_a_known_key_costs_no_statement(a_shop: Shop) -> None:
    key = made_key(a_shop)
    a_shop.get("/products", headers=bearer(key))
    a_shop.get("/products")
    with a_shop.statements() as sent:
        answer = a_shop.get("/products", headers=bearer(other_secret(key)))
    assert sent == []
    assert '"unknown_key"' in answer.headers["RateLimit-Policy"]


def test_a_key_whose_prefix_was_guessed_before_it_was_made_is_valid_at_once(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0123456789ab")
    guess = f"shop_0123456789ab_{'x' * 43}"
    assert a_shop.client.post("/categories", headers=bearer(guess)).status_code == 401
    a_shop.key = made_key(a_shop)
    assert a_shop.post("/categories", name="Garden").status_code == 201


def test_a_revoked_key_is_refused_by_the_next_request_on_every_worker(
    serve: Callable[..., Service], a_shop: Shop
) -> None:
    service = serve(WEB_CONCURRENCY="3")
    for _ in range(5):
        key = made_key(a_shop, "partner")
        tiers = {service.get("/rate_limit", headers=bearer(key)).json()["tier"] for _ in range(12)}
        assert tiers == {"partner"}
        assert a_shop.command("keys", "revoke", key.split("_")[1]).exit_code == 0
        tiers = {service.get("/rate_limit", headers=bearer(key)).json()["tier"] for _ in range(12)}
        assert tiers == {"standard"}


@pytest.mark.hurried
def test_a_key_is_revoked_while_redis_is_away(make_shop: Make, redis_cli: Any) -> None:
    shop, lost = make_shop(), make_shop(REDIS_URL="redis://127.0.0.1:1/0")
    key = made_key(shop)
    assert shop.get("/rate_limit", headers=bearer(key)).get_json()["client"] == f"key:{key[5:17]}"
    assert lost.command("keys", "revoke", key[5:17]).exit_code == 0
    assert shop.get("/rate_limit", headers=bearer(key)).get_json()["client"] == "127.0.0.1"


def test_a_credential_that_is_cached_is_never_refused_for_its_address(
    make_shop: Make, edge: dict[str, str]
) -> None:
    shop = make_shop(**LIMITS, **edge)
    key, session = bearer(made_key(shop)), shop.open_session()
    for headers in (key, session):
        assert shop.get("/products", headers=headers).status_code == 200
    spend(shop)
    with shop.statements() as sent:
        for headers in (key, session):
            assert shop.get("/products", headers=headers).status_code == 200
    assert sent == []


def test_a_previously_valid_credential_is_not_refused_for_its_address(
    make_shop: Make, redis_cli: Any
) -> None:
    """An entry ends with its time to live, or in an outage; its holder has done nothing wrong."""
    shop = make_shop(**LIMITS)
    key, session = made_key(shop), shop.open_session()
    for headers in (bearer(key), session):
        shop.get("/products", headers=headers)
    spend(shop)
    redis_cli.delete(*redis_cli.keys("key:*"), *redis_cli.keys("session:*"))
    for headers in (bearer(key), session):
        assert shop.get("/products", headers=headers).status_code == 200
    assert shop.command("keys", "revoke", key.split("_")[1]).exit_code == 0
    assert shop.get("/products", headers=bearer(key)).status_code == 429
    redis_cli.delete(*redis_cli.keys("key:*"))
    with shop.statements() as sent:
        assert shop.get("/products", headers=bearer(key)).status_code == 429
    assert sent == []


def test_an_unknown_credential_is_refused_for_its_address(make_shop: Make) -> None:
    shop = make_shop(**LIMITS)
    key, session = bearer(made_key(shop)), shop.open_session()
    spend(shop)
    with shop.statements() as sent:
        for headers in (key, session):
            assert shop.get("/products", headers=headers).status_code == 429
    assert sent == []


@pytest.mark.parametrize("kind", ["key", "session"])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_charge_of_a_valid_credential_is_repaid_exactly(
    make_shop: Make, redis_cli: Any, kind: str, before: int
) -> None:
    """The record of the address counts what it did, at the same times."""
    shop = make_shop(RATE_LIMIT_CALLS="9", WRITE_LIMIT_CALLS="9", UNKNOWN_KEY_LIMIT_CALLS="9")
    headers = bearer(made_key(shop)) if kind == "key" else shop.open_session()
    for _ in range(before):
        shop.client.post("/categories")
    expected = records.counted(record_of(redis_cli))
    answer = shop.client.delete("/cart/items/1", headers=headers)
    assert answer.status_code == (404 if kind == "session" else 401)
    found = records.counted(record_of(redis_cli))
    if kind == "session":  # it is charged there, with its address's others
        assert found.pop("address").used == f"{before + 1}/90"
        expected.pop("address", None)
    assert found == expected
    assert answer.headers["RateLimit"].startswith('"default";r=8;t=60')


def test_a_key_that_many_requests_send_for_the_first_time_is_looked_up_once(
    make_shop: Make, redis_cli: Any
) -> None:
    """The quota for unknown keys of its address does not matter."""
    shop = make_shop(RATE_LIMIT_CALLS="100", UNKNOWN_KEY_LIMIT_CALLS="1")
    key = made_key(shop)
    gate = threading.Barrier(6)

    def ask(_: int) -> int:
        gate.wait()
        return shop.app.test_client().get("/nothing", headers=bearer(key)).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [404] * 6
    assert record_of(redis_cli) == ""
    assert records.used(record_of(redis_cli, f"key:{key.split('_')[1]}"))["default"] == "6/100"


def test_an_unknown_session_of_a_free_request_costs_its_lookup(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="9")
    token = random_token()
    for _ in range(3):  # that nobody has it is known then, and to ask again is free
        told = shop.get("/rate_limit", headers=bearer(token)).get_json()
    assert told["client"] == "127.0.0.1"
    assert [one["remaining"] for one in told["policies"]][:2] == [8, 89]


def test_shadow_mode_looks_up_credentials_and_refuses_nothing(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_MODE="shadow", **LIMITS)
    for _ in range(9):
        shop.get("/nothing")
    key = made_key(shop)
    assert shop.get("/rate_limit", headers=bearer(key)).get_json()["client"].startswith("key:")
    for draw in (random_key, random_token):
        assert shop.get("/products", headers=bearer(draw())).status_code == 200


def test_without_limits_credentials_are_looked_up_and_cost_nothing(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_ENABLED="false")
    shop.key = made_key(shop)
    assert shop.post("/categories", name="Garden").status_code == 201
    assert shop.get("/cart", headers=shop.open_session()).status_code == 200
    assert shop.get("/cart", headers=bearer(random_token())).status_code == 401
    assert not redis_cli.keys("rate_limit:*")


@pytest.mark.parametrize("url", ["off", "redis://127.0.0.1:1/0"])
def test_without_redis_lookups_are_charged_and_repaid_too(make_shop: Make, url: str) -> None:
    changes = {"REDIS_ENABLED": "false"} if url == "off" else {"REDIS_URL": url}
    shop = make_shop(**LIMITS, **changes, WEB_CONCURRENCY="1")
    key, session = bearer(made_key(shop)), shop.open_session()
    for headers in (key, session):
        for _ in range(3):
            assert shop.get("/nothing", headers=headers).status_code == 404
    told = {
        one["policy"]: one["remaining"] for one in shop.get("/rate_limit").get_json()["policies"]
    }
    assert (told["default"], told["address"]) == (5, 997)
    spend(shop)
    with shop.statements() as sent:
        for draw in (random_key, random_token):
            for path in PATHS:
                assert shop.get(path, headers=bearer(draw())).status_code == 429
    assert sent == []
    for headers in (key, session):
        assert shop.get("/products", headers=headers).status_code == 200


def test_a_cached_key_is_valid_without_the_database(
    make_shop: Make, relay: MakeRelay, postgres: Postgres
) -> None:
    way = relay(postgres.socket)
    shop = make_shop(
        DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop",
        RATE_LIMIT_CALLS="50",
        UNKNOWN_KEY_LIMIT_CALLS="1",
    )
    key, unknown = made_key(shop), made_key(shop)
    shop.get("/nothing", headers=bearer(key))
    way.close()
    told = shop.get("/rate_limit", headers=bearer(key)).get_json()
    assert told["client"].startswith("key:")
    for left in (49, 48):  # the other one is counted by its address, and is no guess
        answer = shop.get("/nothing", headers=bearer(unknown))
        assert answer.headers["RateLimit"].startswith(f'"default";r={left};')
        assert "unknown_key" not in answer.headers["RateLimit"]


def test_a_request_that_the_edge_has_charged_is_charged_no_second_time(
    make_shop: Make, redis_cli: Any
) -> None:
    """The session may be gone from the cache when Flask looks it up."""
    shop = make_shop(RATE_LIMIT_CALLS="20", ADDRESS_LIMIT_CALLS="50")
    shop.create_product()
    session = shop.open_session()
    for _ in range(2):
        assert shop.get("/products/1", headers=session).status_code == 200
    redis_cli.delete("products:id:1")

    def forget_sessions() -> None:
        redis_cli.delete(*redis_cli.keys("session:*"))

    shop.app.before_request_funcs[None].insert(0, forget_sessions)  # after the edge
    answer = shop.get("/products/1", headers=session)
    assert answer.headers["X-Cache"] == "MISS"
    assert answer.headers["RateLimit"].startswith('"default";r=17;t=')
    assert records.used(record_of(redis_cli)) == {"address": "3/50"}


def test_the_administrator_is_never_looked_up(make_shop: Make) -> None:
    shop = make_shop(**LIMITS)
    spend(shop)
    with shop.statements() as sent:
        assert shop.get("/rate_limit", headers=bearer(ADMIN_KEY)).get_json()["client"] == "admin"
    assert sent == []


def test_a_process_remembers_the_credentials_that_were_used_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(valid_credentials, "CREDENTIALS_MAX", 2)
    credentials = valid_credentials.ValidCredentials()
    for one in ("aa", "bb", "aa", "cc"):
        assert credentials.update(one, "holder") == "holder"
    assert [one in credentials for one in ("aa", "bb", "cc")] == [True, False, True]
    credentials.update("aa", None)
    assert "aa" not in credentials


def test_a_key_that_is_changed_in_the_database_is_seen_when_its_entry_ends(
    a_shop: Shop, redis_cli: Any
) -> None:
    """SQL by hand forgets no entry of the cache."""
    key = made_key(a_shop)
    told = a_shop.get("/rate_limit", headers=bearer(key))
    with a_shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE api_keys SET tier = 'partner'"))
    assert a_shop.get("/rate_limit", headers=bearer(key)).get_json()["tier"] == "standard"
    assert a_shop.command("cache", "clear", "key").exit_code == 0
    told = a_shop.get("/rate_limit", headers=bearer(key))
    assert told.get_json()["tier"] == "partner"
