"""Rate limits: clients, quotas, and headers of answers."""

from __future__ import annotations

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import records
from conftest import ADMIN_KEY
from prometheus_client import REGISTRY

from shop.keys import service as keys
from shop.limits import limit, limiter
from shop.limits.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Service, Shop

LIMITS = {"RATE_LIMIT_CALLS": "5", "WRITE_LIMIT_CALLS": "2", "SESSION_LIMIT_CALLS": "1"}
TRIO = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture
def limited(make_shop: Make) -> Shop:
    shop = make_shop(**LIMITS)
    shop.create_category()
    shop.create_product()
    return shop


def key_of(shop: Shop, tier: str = "standard") -> str:
    with shop.app.app_context():
        return keys.create_key("tests", ["catalog:write"], tier)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def used(redis_cli: Any, client: str = "127.0.0.1") -> dict[str, str]:
    """Return what Redis keeps of a client: `{policy: "used/quota"}`."""
    return records.used(redis_cli.get(f"rate_limit:{client}"))


def test_a_client_has_its_quota_and_then_429(limited: Shop) -> None:
    passed = [limited.get("/products") for _ in range(5)]
    assert [response.status_code for response in passed] == [200] * 5
    assert [r.headers["X-RateLimit-Remaining"] for r in passed] == ["4", "3", "2", "1", "0"]
    assert not [response for response in passed if "Retry-After" in response.headers]
    response = limited.get("/products")
    assert response.status_code == 429
    assert response.content_type == "application/problem+json"
    problem = response.get_json()
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["status"], problem["title"]) == (429, "Quota Exceeded")
    assert problem["violated-policies"] == ["default"]
    assert problem["detail"] == "More than 5 requests in 60 seconds (policy default)."
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.headers["Retry-After"] == response.headers["X-RateLimit-Reset"]


def test_headers_show_the_window(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="100", RATE_LIMIT_PERIOD="60")
    response = shop.get("/products")
    assert [response.headers[name] for name in TRIO] == ["100", "99", "60"]
    assert response.headers["RateLimit-Policy"] == '"default";q=100;w=60, "address";q=1000;w=60'
    assert response.headers["RateLimit"] == '"default";r=99;t=60, "address";r=999;t=60'


def test_a_write_shows_both_policies_and_the_tighter_one_in_short(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="100", WRITE_LIMIT_CALLS="30")
    shop.key = key_of(shop)
    response = shop.post("/categories", name="Garden")
    assert [response.headers[name] for name in TRIO] == ["30", "29", "60"]
    assert response.headers["RateLimit-Policy"] == '"default";q=100;w=60, "write";q=30;w=60'
    assert response.headers["RateLimit"] == '"default";r=99;t=60, "write";r=29;t=60'


def test_writes_have_a_smaller_quota_and_reads_go_on(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="50", WRITE_LIMIT_CALLS="2")
    shop.key = key_of(shop)
    statuses = [shop.post("/categories", name=f"Category {n}").status_code for n in range(3)]
    assert statuses == [201, 201, 429]
    assert shop.get("/categories").status_code == 200
    assert len(shop.get("/categories").get_json()["items"]) == 2


@pytest.mark.parametrize("path", ["/health_check", "/livez", "/readyz", "/metrics"])
def test_exempt_routes_are_not_counted(limited: Shop, path: str) -> None:
    for _ in range(10):
        response = limited.get(path)
        assert response.status_code == 200
        assert not [name for name, _ in response.headers if "ratelimit" in name.lower()]


def test_unknown_addresses_of_the_api_are_counted(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="2")
    assert [shop.get("/nothing").status_code for _ in range(3)] == [404, 404, 429]


def test_the_administrator_is_not_limited(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1", WRITE_LIMIT_CALLS="1")
    for n in range(3):
        response = shop.post("/categories", name=f"Category {n}")
        assert response.status_code == 201
        assert "X-RateLimit-Limit" not in response.headers


def test_nothing_is_limited_when_limits_are_switched_off(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_ENABLED="false", RATE_LIMIT_CALLS="1")
    responses = [shop.get("/products") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert "X-RateLimit-Limit" not in responses[0].headers


def test_a_request_is_charged_by_all_policies_or_by_none(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="4", WRITE_LIMIT_CALLS="2")
    shop.key = key_of(shop)
    client = f"key:{shop.key.split('_')[1]}"
    for n in range(5):
        answer = shop.post("/categories", name=f"Category {n}")
    assert answer.get_json()["violated-policies"] == ["write"]
    assert answer.headers["RateLimit"].startswith('"default";r=2;t=60, "write";r=0;t=')
    assert used(redis_cli, client) == {"default": "2/4", "write": "2/2"}
    for _ in range(2):
        assert shop.get("/categories", headers=bearer(shop.key)).status_code == 200
    refused = shop.post("/categories", name="One more")
    assert refused.get_json()["violated-policies"] == ["default", "write"]
    lines = records.counted(redis_cli.get(f"rate_limit:{client}")).values()
    assert [line.refused for line in lines] == [1, 4]
    assert used(redis_cli, client) == {"default": "4/4", "write": "2/2"}


def test_writes_without_a_key_are_counted_too(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="50", WRITE_LIMIT_CALLS="2")
    shop.key = None
    statuses = [shop.post("/categories", name="Garden").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


@pytest.mark.parametrize("sent", ["wrong", "shop_000000000000_" + "x" * 43])
def test_guessing_keys_is_limited_by_address_and_stricter(
    make_shop: Make, redis_cli: Any, sent: str
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="50", UNKNOWN_KEY_LIMIT_CALLS="3")
    guesses = [f"{sent[:-1]}{n}" for n in range(4)]
    answers = [shop.get("/products", headers=bearer(key)) for key in guesses]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit"] == (
        '"default";r=49;t=60, "address";r=499;t=60, "unknown_key";r=2;t=60'
    )
    assert answers[3].get_json()["violated-policies"] == ["unknown_key"]
    assert "3 requests with a key that nobody has" in answers[3].get_json()["detail"]
    assert shop.get("/rate_limit", headers=bearer("one more")).status_code == 429
    assert shop.post("/categories", name="Garden").status_code == 201  # who has a key
    assert shop.get("/products").status_code == 200  # who sends none
    assert redis_cli.keys("rate_limit:*") == ["rate_limit:127.0.0.1"]
    assert used(redis_cli) == {"default": "4/50", "address": "4/500", "unknown_key": "3/3"}


@pytest.mark.parametrize(
    ("tier", "quotas"),
    [("standard", ["4", "2"]), ("partner", ["8", "6"]), ("unlimited", [])],
)
def test_the_tier_of_a_key_says_how_much_it_may_send(
    make_shop: Make, tier: str, quotas: list[str]
) -> None:
    shop = make_shop(
        RATE_LIMIT_CALLS="4",
        WRITE_LIMIT_CALLS="2",
        PARTNER_RATE_LIMIT_CALLS="8",
        PARTNER_WRITE_LIMIT_CALLS="6",
    )
    shop.key = key_of(shop, tier)
    answer = shop.post("/categories", name="Garden")
    assert answer.status_code == 201
    assert re.findall(r"q=(\d+)", answer.headers.get("RateLimit-Policy", "")) == quotas
    statuses = [
        shop.get("/categories", headers=bearer(shop.key)).status_code
        for _ in range(int(quotas[0]) if quotas else 20)
    ]
    assert statuses[:-1] == [200] * (len(statuses) - 1)
    assert statuses[-1] == (429 if quotas else 200)


def test_each_request_has_the_tier_of_its_own_caller(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1", PARTNER_RATE_LIMIT_CALLS="2")
    partner = bearer(key_of(shop, "partner"))
    shop.get("/products", headers=partner)  # one that is not known yet would be its address's
    for headers, quota in ((bearer(ADMIN_KEY), None), ({}, "1"), (partner, "2"), ({}, "1")):
        answer = shop.get("/products", headers=headers)
        assert answer.headers.get("X-RateLimit-Limit") == quota


def test_rate_limit_shows_the_remaining_quota_and_costs_nothing(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(**LIMITS)
    assert shop.get("/rate_limit").get_json() == {
        "client": "127.0.0.1",
        "tier": "standard",
        "policies": [
            {"policy": "default", "quota": 5, "window": 60, "remaining": 5, "reset": 0},
            {"policy": "address", "quota": 50, "window": 60, "remaining": 50, "reset": 0},
            {"policy": "session", "quota": 1, "window": 60, "remaining": 1, "reset": 0},
            {"policy": "write", "quota": 2, "window": 60, "remaining": 2, "reset": 0},
        ],
    }
    assert not redis_cli.keys("rate_limit:*")
    for _ in range(7):
        shop.get("/products")
    for _ in range(9):
        answer = shop.get("/rate_limit")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    left = {one["policy"]: one["remaining"] for one in answer.get_json()["policies"]}
    assert left == {"default": 0, "address": 45, "session": 1, "write": 2}
    assert used(redis_cli) == {"default": "5/5", "address": "5/50"}


def test_rate_limit_shows_every_policy(make_shop: Make) -> None:
    told = make_shop().get("/rate_limit", headers=bearer("wrong")).get_json()["policies"]
    assert {one["policy"] for one in told} == set(POLICIES)


def test_rate_limit_shows_no_policies_to_a_client_without_limits(make_shop: Make) -> None:
    told = make_shop().get("/rate_limit", headers=bearer(ADMIN_KEY)).get_json()
    assert told == {"client": "admin", "tier": "unlimited", "policies": []}
    off = make_shop(RATE_LIMIT_ENABLED="false").get("/rate_limit").get_json()
    assert off["policies"] == []


@pytest.mark.parametrize(
    ("path", "cost"),
    [
        ("/products/1", 1),
        ("/products", 1),
        ("/products?limit=50", 1),
        ("/products?limit=51", 2),
        ("/products?limit=100", 2),
        ("/products?limit=0000100", 2),
        ("/products?limit=101", 1),  # refused: 422
        ("/products?limit=99999999999999999999", 1),
        ("/products?limit=x", 1),
        ("/products?limit=1&limit=100", 1),
        ("/categories", 1),
        ("/categories?limit=1000", 10),
        ("/nothing", 1),
    ],
)
def test_a_large_page_costs_more_than_one_request(
    make_shop: Make, redis_cli: Any, path: str, cost: int
) -> None:
    make_shop(RATE_LIMIT_CALLS="50").get(path)
    assert used(redis_cli) == {"default": f"{cost}/50", "address": f"{cost}/500"}


def test_a_cost_above_the_quota_takes_the_whole_quota(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="4")
    answers = [shop.get("/categories?limit=1000") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "0"
    assert answers[1].get_json()["detail"] == (
        "More than 4 requests in 60 seconds (policy default), of which this one costs 10."
    )


def test_shadow_mode_refuses_nothing_and_reports_all(
    make_shop: Make, redis_cli: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_shop(RATE_LIMIT_MODE="shadow", RATE_LIMIT_CALLS="2")
    before = counted("default", "would_refuse"), counted("default", "refused")
    with caplog.at_level("INFO", logger="shop.limits"):
        answers = [shop.get("/products") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["1", "0", "0", "0", "0"]
    assert not [answer for answer in answers if "Retry-After" in answer.headers]
    assert caplog.messages.count("Would refuse 127.0.0.1: default") == 3
    assert counted("default", "would_refuse") == before[0] + 3
    assert counted("default", "refused") == before[1]
    counted_by = records.counted(redis_cli.get("rate_limit:127.0.0.1"))
    assert counted_by["default"][:2] == ("2/2", 3)


def test_allowed_and_refused_requests_are_counted_by_policy(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="9", WRITE_LIMIT_CALLS="2")
    shop.key = key_of(shop)
    states = [(p, r) for p in ("default", "write") for r in ("allowed", "refused")]
    before = [counted(*state) for state in states]
    for n in range(5):
        shop.post("/categories", name=f"Category {n}")
    shop.get("/rate_limit", headers=bearer(shop.key))
    after = [counted(*state) for state in states]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 0, 2, 3]


def test_the_log_says_which_policy_refused(
    make_shop: Make, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1")
    with caplog.at_level("INFO", logger="shop.access"):
        statuses = [shop.get("/products").status_code for _ in range(2)]
    assert statuses == [200, 429]
    allowed, refused = caplog.records
    assert [one.fields["refused"] for one in (allowed, refused)] == [None, "default"]  # type: ignore[attr-defined]
    assert refused.getMessage().endswith("ms 127.0.0.1, refused by default")


def counted(policy: str, result: str) -> float:
    labels = {"policy": policy, "result": result}
    return REGISTRY.get_sample_value("shop_rate_limit_requests_total", labels) or 0


def test_all_limits_of_a_request_take_one_round_trip(make_shop: Make, redis_cli: Any) -> None:
    """Four policies decide a write without a valid key in one call of Redis."""
    shop = make_shop(UNKNOWN_KEY_LIMIT_CALLS="2", WRITE_LIMIT_CALLS="9")
    shop.key = "wrong"
    shop.post("/categories", name="Garden")  # loads the script
    for status in (401, 429):
        redis_cli.config_resetstat()
        answer = shop.post("/categories", name="Garden")
        assert (answer.status_code, answer.headers["RateLimit"].count(";r=")) == (status, 4)
        calls = {name: stats["calls"] for name, stats in redis_cli.info("commandstats").items()}
        own = {"evalsha", "time", "strlen", "getrange", "get", "setrange", "set", "pexpire"}
        own |= {"hello", "client|setinfo", "client|tracking", "ping"}  # of a new connection
        assert set(calls) <= {f"cmdstat_{one}" for one in (*own, "config|resetstat", "info")}
        assert calls["cmdstat_evalsha"] == 1


def test_a_limit_that_cannot_be_decided_with_the_others_is_refused(a_shop: Shop) -> None:
    """Flask-Limiter's decorators around a view, and strategies that the counter does not know."""
    view = limiter.limit("1 per minute")(lambda: "")
    a_shop.app.add_url_rule("/unnamed", view_func=view, endpoint="unnamed")
    assert a_shop.get("/unnamed").status_code == 500
    with a_shop.app.test_request_context("/products"), pytest.raises(RuntimeError, match="no view"):
        limit("write")(lambda: "")()
    with pytest.raises(ValueError, match="none of the policies"):
        limit("serach")


def test_counters_are_readable_and_expire(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="10", WRITE_LIMIT_CALLS="5", RATE_LIMIT_PERIOD="3000")
    for _ in range(3):
        shop.get("/products")
    shop.key = None
    shop.post("/categories", name="Garden")
    assert redis_cli.keys("rate_limit:*") == ["rate_limit:127.0.0.1"]
    assert used(redis_cli) == {"default": "4/10", "address": "4/100", "write": "1/5"}
    assert 0 < redis_cli.ttl("rate_limit:127.0.0.1") <= 3000 * 1.01


def test_a_refused_request_is_not_counted(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3")
    for _ in range(9):
        shop.get("/products")
    assert used(redis_cli) == {"default": "3/3", "address": "3/30"}


def test_after_retry_after_a_request_passes(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="2", RATE_LIMIT_PERIOD="1")
    assert [shop.get("/products").status_code for _ in range(2)] == [200, 200]
    refused = shop.get("/products")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    time.sleep(int(refused.headers["Retry-After"]))  # what a client does
    assert shop.get("/products").status_code == 200


def test_retry_after_is_that_of_the_policy_that_refuses_for_longest(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1", WRITE_LIMIT_CALLS="1")
    shop.key = None
    seconds, _ = redis_cli.time()
    redis_cli.set(
        "rate_limit:127.0.0.1",
        "".join(
            f"{policy} 1/1 in 60 s, 0000000 refused: {seconds - ago}000000:0000001 \n"
            for policy, ago in (("default", 20), ("write", 50))
        ),
    )
    refused = shop.post("/categories", name="Garden")
    assert refused.get_json()["violated-policies"] == ["default", "write"]
    assert 35 <= int(refused.headers["Retry-After"]) <= 40


@pytest.mark.parametrize("value", ["5", "", "default 9/", "\x00\xff", "default 5/5 in 60 s, x\n"])
def test_a_value_that_is_no_record_counts_as_none(
    make_shop: Make, redis_cli: Any, value: str
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5")
    redis_cli.set("rate_limit:127.0.0.1", value)
    assert shop.get("/products").headers["X-RateLimit-Remaining"] == "4"
    assert redis_cli.ttl("rate_limit:127.0.0.1") > 0


def test_a_counter_of_another_type_is_not_a_fault(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="2", WEB_CONCURRENCY="1")
    redis_cli.rpush("rate_limit:127.0.0.1", "x")
    assert [shop.get("/products").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("proxies", "header", "client"),
    [
        ("0", "9.9.9.9", "127.0.0.1"),
        ("1", "9.9.9.9", "9.9.9.9"),
        ("1", "1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("2", "1.1.1.1, 9.9.9.9, 8.8.8.8", "9.9.9.9"),
        ("2", "9.9.9.9", "127.0.0.1"),
        ("1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("1", "::ffff:9.9.9.9", "9.9.9.9"),
        ("1", "not an address", "unknown"),
        ("1", "", "unknown"),
        ("1", '6.6.6.6, ", 9.9.9.9', "9.9.9.9"),
        ("1", "9.9.9.9:4711", "9.9.9.9"),
        ("1", "[2001:db8::1]:443", "2001:db8::/64"),
        ("1", '"[2001:db8::1]"', "2001:db8::/64"),
    ],
)
def test_a_client_is_the_address_that_the_trusted_proxies_saw(
    make_shop: Make, redis_cli: Any, proxies: str, header: str, client: str
) -> None:
    make_shop(TRUSTED_PROXIES=proxies).get("/products", headers={"X-Forwarded-For": header})
    assert redis_cli.keys("rate_limit:*") == [f"rate_limit:{client}"]


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("X-Forwarded-For", "{}"),
        ("X-Real-IP", "{}"),
        ("X-Client-IP", "{}"),
        ("CF-Connecting-IP", "{}"),
        ("Forwarded", "for={}"),
    ],
)
def test_a_forged_header_changes_nothing(
    make_shop: Make, redis_cli: Any, header: str, form: str
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="2")
    forged = [{header: form.format(f"192.0.2.{n}")} for n in range(3)]
    assert [shop.get("/products", headers=one).status_code for one in forged] == [200, 200, 429]
    assert redis_cli.keys("rate_limit:*") == ["rate_limit:127.0.0.1"]


def test_a_key_has_a_quota_of_its_own(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1")
    key = key_of(shop)
    for _ in range(2):
        statuses = [
            shop.get("/products", headers={"Authorization": f"Bearer {sent}"}).status_code
            for sent in (key, "wrong")
        ]
    assert statuses == [429, 429]
    prefix = key.split("_")[1]
    assert set(redis_cli.keys("rate_limit:*")) == {
        "rate_limit:127.0.0.1",
        f"rate_limit:key:{prefix}",
    }


def test_without_redis_the_workers_share_the_quota(serve: Callable[..., Service]) -> None:
    service = serve(RATE_LIMIT_CALLS="100", WEB_CONCURRENCY="4", REDIS_ENABLED="false")
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: service.get("/products"), range(300)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert 25 <= statuses[200] <= 100
    assert {a.headers["X-RateLimit-Limit"] for a in answers} == {"25"}
