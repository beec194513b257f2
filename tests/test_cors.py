"""CORS: the headers that let pages of other origins read answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import requests
from conftest import ADMIN_KEY, Shop
from prometheus_client import REGISTRY
from test_edge import counting

from shop.answers import SECURITY_HEADERS
from shop.cors import EXPOSED_HEADERS, REQUEST_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Service
    from flask import Response
    from werkzeug.test import TestResponse

PAGE, OTHER_PAGE = "https://shop.example", "http://localhost:3000"
ORIGINS = f"{PAGE}, {OTHER_PAGE}"
# What a page reads without being allowed to, and what is for the browser alone.
UNREAD = {"Cache-Control", "Content-Length", "Content-Type", "Last-Modified"}
UNREAD |= {
    "Accept-Ranges",
    "Content-Disposition",
    "Date",
    "Expires",
    "Vary",
    *dict(SECURITY_HEADERS),
}
EDGE = pytest.mark.parametrize("edge", ["true", "false"], ids=["with the edge", "without it"])


def preflight(shop: Shop, method: str, path: str, origin: str = PAGE, **headers: str) -> Any:
    """Ask as a browser does before it sends a request of a page."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    asked["Access-Control-Request-Headers"] = "authorization,content-type,idempotency-key"
    return shop.request("OPTIONS", path, headers=asked | headers)


def calls(shop: Shop) -> Iterator[tuple[str, str]]:
    """Yield each method and path of the service, with a row's id in place of its name."""
    for rule in shop.app.url_map.iter_rules():
        values = dict.fromkeys(rule.arguments, 1) | {"action": "pay"}
        _, path = rule.build({name: values[name] for name in rule.arguments})  # type: ignore[misc]
        for method in sorted(rule.methods or ()):
            yield method, path


def names(header: str) -> set[str]:
    return set(header.split(", "))


def cors_headers(answer: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("Access-Control-") or name == "Vary"
    }


def test_a_preflight_lists_the_methods_and_headers_of_its_path(
    make_shop: Make,
) -> None:
    answer = preflight(make_shop(CORS_ORIGINS=ORIGINS), "POST", "/cart/checkout")
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert cors_headers(answer) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Methods": "OPTIONS, POST",
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        "Access-Control-Max-Age": "7200",
        "Vary": "Access-Control-Request-Method, Origin",
    }


def test_a_preflight_is_for_every_call_and_costs_no_statement_and_no_redis(
    make_shop: Make, redis_cli: Any
) -> None:
    """A preflight looks up no caller."""
    shop = make_shop(CORS_ORIGINS=ORIGINS)
    key = {"Authorization": f"Bearer shop_0123456789ab_{'x' * 43}"}
    session = {"Authorization": f"Bearer session_{'x' * 43}"}
    redis_cli.config_resetstat()
    with shop.statements() as sent:
        for method, path in calls(shop):
            for headers in ({}, key, session):
                answer = preflight(shop, method, path, **headers)
                assert answer.status_code == 204, (method, path)
                assert method in names(answer.headers["Access-Control-Allow-Methods"])
                assert "RateLimit" not in answer.headers
    assert not sent
    assert set(redis_cli.info("commandstats")) <= {"cmdstat_info", "cmdstat_config|resetstat"}
    assert not redis_cli.keys("rate_limit:*")


def test_pages_may_send_the_headers_that_the_document_names(make_shop: Make) -> None:
    document = make_shop().get("/openapi.json").get_json()
    parameters = [
        parameter["name"]
        for path in document["paths"].values()
        for call in path.values()
        if isinstance(call, dict)
        for parameter in call.get("parameters", [])
        if parameter.get("in") == "header"
    ]
    assert (
        {"If-Match", "If-None-Match", "Idempotency-Key"}
        <= set(parameters)
        <= names(REQUEST_HEADERS)
    )
    assert {"Authorization", "Content-Type", "X-Request-ID"} <= names(REQUEST_HEADERS)


@pytest.mark.parametrize("path", ["/nothing", "/products/0", "/products/99999999999"])
def test_a_page_can_read_the_404_of_an_unknown_path(make_shop: Make, path: str) -> None:
    """A preflight that is no success would keep the answer from the page."""
    shop = make_shop(CORS_ORIGINS=ORIGINS)
    answer = preflight(shop, "DELETE", path)
    assert answer.status_code == 204
    assert "Allow" not in answer.headers
    assert {"DELETE", "GET", "PATCH"} <= names(answer.headers["Access-Control-Allow-Methods"])
    assert shop.request("OPTIONS", path, headers={"Origin": PAGE}).status_code == 404


@pytest.mark.parametrize("origins", ["", ORIGINS, "*"])
def test_a_plain_options_request_lists_the_methods_and_costs_nothing(
    make_shop: Make, redis_cli: Any, origins: str
) -> None:
    shop = make_shop(CORS_ORIGINS=origins)
    redis_cli.config_resetstat()
    with shop.statements() as sent:
        for path, methods in (
            ("/products", "GET, HEAD, OPTIONS, POST"),
            ("/products/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
            ("/cart/checkout", "OPTIONS, POST"),
            ("/docs", "GET, HEAD, OPTIONS"),
        ):
            answer = shop.request("OPTIONS", path)
            assert (answer.status_code, answer.data) == (204, b"")
            assert answer.headers["Allow"] == methods
            assert "Content-Type" not in answer.headers
            assert "RateLimit" not in answer.headers
            assert "Access-Control-Allow-Methods" not in answer.headers
        unknown = shop.request("OPTIONS", "/nothing")
        assert (unknown.status_code, unknown.content_type) == (404, "application/problem+json")
    assert not sent
    assert set(redis_cli.info("commandstats")) <= {"cmdstat_info", "cmdstat_config|resetstat"}
    assert not redis_cli.keys("rate_limit:*")


def test_no_head_is_charged_as_a_write(a_shop: Shop) -> None:
    """A HEAD is charged as a GET of the same path."""
    for path in sorted({path for _, path in calls(a_shop)}):
        head, get = (a_shop.request(method, path) for method in ("HEAD", "GET"))
        assert head.headers.get("RateLimit-Policy") == get.headers.get("RateLimit-Policy"), path
    policies = {one["policy"]: one for one in a_shop.get("/rate_limit").get_json()["policies"]}
    assert policies["write"]["remaining"] == 100_000 > policies["default"]["remaining"]


@EDGE
def test_a_page_without_quota_can_read_its_refusal_and_send_preflights(
    make_shop: Make, redis_cli: Any, edge: str
) -> None:
    shop = make_shop(CORS_ORIGINS=ORIGINS, RATE_LIMIT_CALLS="3", EDGE_ENABLED=edge)
    answers = [shop.get("/categories", headers={"Origin": PAGE}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["Access-Control-Allow-Origin"] == PAGE
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Reset"} <= names(
        answers[3].headers["Access-Control-Expose-Headers"]
    )
    [record] = redis_cli.keys("rate_limit:*")
    before = redis_cli.dump(record)
    for _ in range(5):
        assert preflight(shop, "POST", "/cart/checkout").status_code == 204
        assert shop.request("OPTIONS", "/cart/checkout").status_code == 204
    assert redis_cli.dump(record) == before


def every_kind_of_answer(shop: Shop) -> Iterator[TestResponse]:
    """Send requests of a page that are answered in each way that there is."""
    origin = {"Origin": PAGE}
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    shop.key = None

    def send(method: str, path: str, **options: Any) -> TestResponse:
        headers = origin | options.pop("headers", {})
        return shop.request(method, path, headers=headers, **options)

    for path in ("/products/1", "/products?limit=1", "/products/1"):
        first = send("GET", path)
        yield first
        yield send("HEAD", path)
        yield send("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    for path in ("/nothing", "/products/99", "/cart", "/orders", "/products?limit=x"):
        yield send("GET", path)
    for path in ("/health_check", "/metrics", "/docs", "/openapi.json", "/rate_limit"):
        yield send("GET", path)
    yield send("GET", "/docs/assets/swagger-ui.css")
    yield send("OPTIONS", "/products")
    yield send("OPTIONS", "/nothing")
    yield send("TRACE", "/products")
    yield send("POST", "/products", json={})
    yield send("POST", "/sessions")
    for body in (b"{", b"[]", b'{"name":"Garden"}', b'{"name":"Lawn"}', b"x" * 1024 * 1024 * 2):
        yield send("POST", "/categories", data=body, content_type="application/json", headers=key)
    yield send("POST", "/categories", data=b"x", content_type="text/plain", headers=key)
    yield send("PATCH", "/products/1", json={"stock": 1}, headers=key | {"If-Match": '"x"'})
    yield send("DELETE", "/products/1", headers=key)
    yield send("GET", "/fault")


@EDGE
def test_a_page_reads_every_answer_and_every_header_of_it(make_shop: Make, edge: str) -> None:
    shop = make_shop(CORS_ORIGINS=ORIGINS, EDGE_ENABLED=edge)

    @shop.app.get("/fault")
    def fault() -> str:
        raise RuntimeError

    for _ in range(3):
        shop.create_product()
    answers = list(every_kind_of_answer(shop))
    assert {answer.status_code for answer in answers} == {
        200, 201, 204, 304, 400, 401, 404, 405, 409, 412, 413, 415, 422, 500,
    }  # fmt: skip
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Origin" in names(answer.headers["Vary"])
        assert "Access-Control-Allow-Credentials" not in answer.headers
        own = {name for name, _ in answer.headers if not name.startswith("Access-Control-")}
        assert own - UNREAD <= names(answer.headers["Access-Control-Expose-Headers"]), answer


def test_a_page_reads_that_the_database_cannot_be_reached(make_shop: Make) -> None:
    shop = make_shop(CORS_ORIGINS=ORIGINS, DATABASE_URL="postgresql://x:x@127.0.0.1:1/none")
    answer = shop.get("/products", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


HOSTILE = [
    "null", "*", "", " ", PAGE + ".", PAGE + "/", PAGE + ":443", PAGE + ":8443",
    PAGE + ".evil.test", PAGE + "@evil.test", PAGE + "\r\nSet-Cookie: a=b", PAGE + "\x00", "\xff",
    "https://evil-shop.example", "https://xshop.example", "https://a.shop.example",
    "https://shop.exampl", "https://Shop.example", PAGE.upper(), "http://shop.example",
    "shop.example", "http://localhost:30000", "http://localhost", "http://127.0.0.1:3000",
    f"{PAGE} {OTHER_PAGE}", f"{PAGE}, {OTHER_PAGE}", f"{PAGE},{PAGE}",
]  # fmt: skip


@EDGE
@pytest.mark.parametrize("origin", HOSTILE)
def test_an_unlisted_origin_gets_no_permission_to_read(
    make_shop: Make, edge: str, origin: str
) -> None:
    """Its requests get no such header either; its preflight is an OPTIONS like others."""
    shop = make_shop(CORS_ORIGINS=ORIGINS, EDGE_ENABLED=edge)
    environment = {"HTTP_ORIGIN": origin}
    asked = environment | {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    for _ in range(3):
        answer = shop.get("/categories", environ_overrides=environment)
        assert answer.status_code == 200
        assert cors_headers(answer) == {"Vary": "Origin"}
    answer = shop.request("OPTIONS", "/categories", environ_overrides=asked)
    assert answer.status_code == 204
    assert cors_headers(answer) == {"Vary": "Access-Control-Request-Method, Origin"}
    unknown = shop.request("OPTIONS", "/nothing", environ_overrides=asked)
    assert unknown.status_code == 404


@EDGE
def test_each_origin_gets_an_answer_of_its_own(make_shop: Make, edge: str) -> None:
    """The order of the requests does not matter, and Vary reports the difference to caches."""
    shop = make_shop(CORS_ORIGINS=ORIGINS, EDGE_ENABLED=edge)
    shop.create_product()
    etags = set()
    for origin in (PAGE, OTHER_PAGE, None, "https://evil.test", PAGE, None, OTHER_PAGE):
        answer = shop.get("/products/1", headers={"Origin": origin} if origin else {})
        allowed = origin if origin in {PAGE, OTHER_PAGE} else None
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert answer.headers["Vary"] == "Origin"
        etags.add(answer.headers["ETag"])
    assert len(etags) == 1


@EDGE
@pytest.mark.parametrize("origin", [None, PAGE, "null"])
def test_every_origin_gets_the_same_answer_when_all_may_read(
    make_shop: Make, edge: str, origin: str | None
) -> None:
    """A request without an origin gets it, too: a cached answer is then right for pages."""
    shop = make_shop(CORS_ORIGINS="*", EDGE_ENABLED=edge)
    headers = {"Origin": origin} if origin else {}
    for path in ("/categories", "/nothing"):
        assert cors_headers(shop.get(path, headers=headers)) == {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        }
    asked = headers | {"Access-Control-Request-Method": "POST"}
    answer = cors_headers(shop.request("OPTIONS", "/cart/checkout", headers=asked))
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert answer["Vary"] == "Access-Control-Request-Method"
    assert "Access-Control-Allow-Credentials" not in answer


@EDGE
def test_an_answer_has_no_cors_headers_without_origins(make_shop: Make, edge: str) -> None:
    shop = make_shop(EDGE_ENABLED=edge)
    for path in ("/categories", "/categories", "/nothing"):
        assert not cors_headers(shop.get(path, headers={"Origin": PAGE}))
    assert not cors_headers(preflight(shop, "GET", "/categories"))
    assert preflight(shop, "GET", "/nothing").status_code == 404


def test_the_edge_answers_pages_as_it_answers_others(make_shop: Make) -> None:
    """The edge learns from a request with or without an origin for both."""
    shop = make_shop(CORS_ORIGINS=ORIGINS)
    shop.create_product()
    shop.get("/products/1", headers={"Origin": PAGE})
    shop.get("/products")
    with counting(hit=4):
        for path in ("/products/1", "/products"):
            plain, page = (shop.get(path, headers=headers) for headers in ({}, {"Origin": PAGE}))
            assert (plain.data, plain.headers["ETag"]) == (page.data, page.headers["ETag"])
            assert "Access-Control-Allow-Origin" not in plain.headers
            assert page.headers["Access-Control-Allow-Origin"] == PAGE


def test_cors_keeps_other_names_in_vary(make_shop: Make) -> None:
    shop = make_shop(CORS_ORIGINS=ORIGINS)

    @shop.app.after_request
    def vary(response: Response) -> Response:
        response.vary.add("Accept")
        return response

    answer = shop.get("/categories")
    assert answer.headers.getlist("Vary") == ["Accept, Origin"]


def test_a_preflight_is_logged_and_counted(
    make_shop: Make, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"method": "OPTIONS", "route": "/cart/checkout", "status": "204"}

    def counted() -> float:
        return REGISTRY.get_sample_value("shop_http_requests_total", labels) or 0

    shop = make_shop(CORS_ORIGINS=ORIGINS)
    before = counted()
    with caplog.at_level(logging.INFO, "shop.access"):
        answer = preflight(shop, "POST", "/cart/checkout", **{"X-Request-ID": "seven"})
    assert counted() == before + 1
    [record] = caplog.records
    fields = vars(record)["fields"]
    assert (fields["method"], fields["route"], fields["status"]) == (
        "OPTIONS", "/cart/checkout", 204,
    )  # fmt: skip
    assert fields["request_id"] == answer.headers["X-Request-ID"] == "seven"


@EDGE
def test_a_served_shop_answers_pages(serve: Callable[..., Service], edge: str) -> None:
    """Reads, 304, 404, 429 and preflights, over HTTP, on every worker."""
    service = serve(CORS_ORIGINS=ORIGINS, EDGE_ENABLED=edge, RATE_LIMIT_CALLS="25")
    page = {"Origin": PAGE}
    read = service.get("/categories", headers=page)
    answers = [read, service.get("/nothing", headers=page)]
    again = page | {"If-None-Match": read.headers["ETag"]}
    answers += [service.get("/categories", headers=again) for _ in range(30)]
    assert [answer.status_code for answer in answers] == [200, 404, *23 * [304], *7 * [429]]
    asked = page | {"Access-Control-Request-Method": "PUT"}
    answers.append(requests.options(service.url + "/cart/items/1", headers=asked, timeout=30))
    assert answers[-1].status_code == 204
    assert answers[-1].headers["Access-Control-Allow-Methods"] == "DELETE, OPTIONS, PUT"
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {PAGE}
    assert all("Origin" in answer.headers["Vary"] for answer in answers)
    other = service.get("/categories", headers={"Origin": "https://evil.test"})
    assert (other.status_code, cors_headers(other)) == (429, {"Vary": "Origin"})
