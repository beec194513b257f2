"""Rate limits: who is counted, how far, and what the answers say."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from shop.keys import service as keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Service, Shop

LIMITS = {"RATE_LIMIT_CALLS": "5", "WRITE_LIMIT_CALLS": "2"}
TRIO = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture
def limited(make_shop: Make) -> Shop:
    shop = make_shop(**LIMITS)
    shop.create_category()
    shop.create_product()
    return shop


def key_of(shop: Shop) -> str:
    with shop.app.app_context():
        return keys.create_key("tests", ["catalog:write"])


def test_a_client_has_its_quota_and_then_429(limited: Shop) -> None:
    passed = [limited.get("/products") for _ in range(5)]
    assert [response.status_code for response in passed] == [200] * 5
    assert [r.headers["X-RateLimit-Remaining"] for r in passed] == ["4", "3", "2", "1", "0"]
    assert not [response for response in passed if "Retry-After" in response.headers]
    response = limited.get("/products")
    assert response.status_code == 429
    assert response.content_type == "application/problem+json"
    problem = response.get_json()
    assert (problem["status"], problem["title"]) == (429, "Too Many Requests")
    assert problem["detail"] == "More than 5 requests in 60 seconds (policy default)."
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.headers["Retry-After"] == response.headers["X-RateLimit-Reset"]


def test_headers_tell_the_window(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="100", RATE_LIMIT_PERIOD="60")
    response = shop.get("/products")
    assert [response.headers[name] for name in TRIO] == ["100", "99", "60"]
    assert response.headers["RateLimit-Policy"] == '"default";q=100;w=60'
    assert response.headers["RateLimit"] == '"default";r=99;t=60'


def test_a_write_tells_both_policies_and_the_nearest_one_in_short(make_shop: Make) -> None:
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


def test_writes_without_a_valid_key_are_counted_too(make_shop: Make) -> None:
    """Guessing keys is limited, by address."""
    shop = make_shop(RATE_LIMIT_CALLS="50", WRITE_LIMIT_CALLS="2")
    shop.key = "shop_000000000000_" + "x" * 43
    statuses = [shop.post("/categories", name="Garden").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


@pytest.mark.parametrize("path", ["/health_check", "/metrics"])
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


def test_switched_off_nothing_is_limited(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_ENABLED="false", RATE_LIMIT_CALLS="1")
    responses = [shop.get("/products") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert "X-RateLimit-Limit" not in responses[0].headers


def test_counters_are_readable_and_expire(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="10", WRITE_LIMIT_CALLS="5", RATE_LIMIT_PERIOD="3000")
    for _ in range(3):
        shop.get("/products")
    shop.key = "wrong"
    shop.post("/categories", name="Garden")
    assert redis_cli.get("rate_limit:127.0.0.1") == "4"
    assert redis_cli.get("rate_limit:127.0.0.1:write") == "1"
    assert 0 < redis_cli.ttl("rate_limit:127.0.0.1") <= 3000


def test_a_refused_request_is_not_counted(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3")
    for _ in range(9):
        shop.get("/products")
    assert redis_cli.get("rate_limit:127.0.0.1") == "3"


def test_the_window_starts_anew_when_it_has_expired(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1")
    assert [shop.get("/products").status_code for _ in range(2)] == [200, 429]
    redis_cli.pexpire("rate_limit:127.0.0.1", 1)
    while redis_cli.exists("rate_limit:127.0.0.1"):
        pass
    assert [shop.get("/products").status_code for _ in range(2)] == [200, 429]


def test_a_counter_that_lost_its_expiry_gets_one(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5")
    redis_cli.set("rate_limit:127.0.0.1", 5)
    assert shop.get("/products").status_code == 429
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


def test_of_150_requests_at_once_over_four_workers_100_pass(
    serve: Callable[..., Service],
) -> None:
    service = serve(RATE_LIMIT_CALLS="100", WEB_CONCURRENCY="4")
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: service.get("/products"), range(150)))
    assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 50}
    left = sorted(int(a.headers["X-RateLimit-Remaining"]) for a in answers if a.ok)
    assert left == list(range(100))


def test_without_redis_the_workers_share_the_quota(serve: Callable[..., Service]) -> None:
    service = serve(RATE_LIMIT_CALLS="100", WEB_CONCURRENCY="4", REDIS_ENABLED="false")
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: service.get("/products"), range(300)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert 25 <= statuses[200] <= 100
    assert {a.headers["X-RateLimit-Limit"] for a in answers} == {"25"}
