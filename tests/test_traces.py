"""Traces: what a collector gets of each request, what it never gets, and what a lost one costs."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from collector import a_collector
from conftest import ADMIN_KEY, await_true, changed, empty_tables, start_service
from ports import free_port

from shop.config import Settings
from shop.environment import SettingError, SettingsReader
from shop.trace_settings import read_trace_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector import Received
    from conftest import Service
    from flask import Flask

TOKEN = "a-token-for-the-collector"
PRIVATE = ("Ada-Customer", "ada@customer.example", "Secret-Lane", "hidden-wish", ADMIN_KEY, TOKEN)
ORDER = {
    "customer": {"name": PRIVATE[0], "email": PRIVATE[1], "address": PRIVATE[2]},
    "lines": [{"product_id": 1, "quantity": 1}],
}
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
FLUSH_ALONE = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}  # milliseconds: spans are sent at the end
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}  # seconds
TOLD = "Traces are incomplete"
PATIENCE_SECONDS = 20  # less than the exporter has, and more than a worker that ends does
PROMPT_SECONDS = 1.0  # that no request takes, if it does not wait for a collector


class Story(NamedTuple):
    """The spans that a collector has got of some requests, and the log of the service."""

    spans: list[Received]
    resource: dict[str, Any]
    requests: list[tuple[str, Any, bytes]]
    lines: list[dict[str, Any]]

    def server(self, number: int) -> Received:
        """Return the span of the request that was sent with this number."""
        [found] = [one for one in self.of(number) if one.kind == "SERVER"]
        return found

    def of(self, number: int) -> list[Received]:
        return [one for one in self.spans if one.trace_id == trace_id(number)]

    def children(self, number: int) -> list[str]:
        return [one.name for one in self.of(number) if one.kind != "SERVER"]


def trace_id(number: int) -> str:
    return f"{number:032x}"


def traceparent(number: int) -> str:
    return f"00-{trace_id(number)}-{number:016x}-01"


PRODUCT, MISS, HIT, NOT_MODIFIED, SEARCH, ORDERED, UNKNOWN, IN_USE, REFUSED = range(1, 10)


@pytest.fixture(scope="module")
def story(
    settings: dict[str, str], migrated: Flask, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    empty_tables(migrated)
    with a_collector() as collector:
        own = {
            "WEB_CONCURRENCY": "1",
            "RATE_LIMIT_CALLS": "30",
            "REDIS_KEY_PREFIX": "traces:",
            "LOG_LEVEL": "INFO",
            **sent_to(collector.url),
            **FLUSH_ALONE,
        }
        service = start_service(changed(settings, own), tmp_path_factory.mktemp("traces"))
        try:
            service.await_ready()
            tell(service)
        finally:
            service.program.stop()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        yield Story(collector.spans(), collector.resource(), collector.requests, lines)


def sent_to(url: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
    }


def tell(service: Service) -> None:
    """Send the requests of the story."""

    def send(number: int, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"traceparent": traceparent(number), **options.pop("headers", {})}
        return requests.request(method, service.url + path, headers=headers, timeout=60, **options)

    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    service.write("POST", "/categories", name="Garden")
    fields = {"name": "Rake", "price": "19.90", "stock": 3, "category_id": 1}
    send(PRODUCT, "POST", "/products", json=fields, headers=admin)
    service.write("POST", "/products", **fields)
    send(IN_USE, "DELETE", "/categories/1", headers=admin)
    requests.get(f"{service.url}/products/1", headers={"traceparent": UNSAMPLED}, timeout=60)
    send(ORDERED, "POST", "/orders", json=ORDER, headers=admin)
    send(MISS, "GET", "/products/2")
    etag = send(HIT, "GET", "/products/1").headers["ETag"]
    send(NOT_MODIFIED, "GET", "/products/1", headers={"If-None-Match": etag})
    send(SEARCH, "GET", "/products", params={"q": "hidden-wish"})
    send(UNKNOWN, "GET", "/ada@customer.example")
    while send(REFUSED, "GET", "/products/1").status_code != 429:
        pass


def test_a_cached_read_is_a_span_with_its_call_of_redis(story: Story) -> None:
    hit = story.server(HIT)
    assert hit.name == "GET /products/<row_id:product_id>"
    assert hit.parent == f"{HIT:016x}"
    assert story.children(HIT) == ["redis"]
    assert hit.attributes == {
        "shop.request_id": hit.attributes["shop.request_id"],
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/products/<row_id:product_id>",
        "url.path": "/products/1",
        "url.scheme": "http",
        "shop.cache": "HIT",
    }


@pytest.mark.parametrize(
    ("number", "status", "cache"), [(MISS, 200, "MISS"), (NOT_MODIFIED, 304, "HIT")]
)
def test_each_answer_of_the_loop_has_its_status_and_outcome(
    story: Story, number: int, status: int, cache: str
) -> None:
    attributes = story.server(number).attributes
    assert (attributes["http.response.status_code"], attributes["shop.cache"]) == (status, cache)


def test_a_refused_request_has_a_span(story: Story) -> None:
    refused = [one for one in story.of(REFUSED) if one.kind == "SERVER"][-1]
    assert refused.attributes["http.response.status_code"] == 429
    assert refused.name == "GET /products/<row_id:product_id>"


def test_a_miss_has_its_statements(story: Story) -> None:
    assert {"redis", "SELECT"} <= set(story.children(MISS))


def test_a_request_that_flask_answers_has_one_server_span(story: Story) -> None:
    ordered = story.server(ORDERED)
    assert (ordered.name, ordered.attributes["http.response.status_code"]) == ("POST /orders", 201)
    assert ordered.parent == f"{ORDERED:016x}"
    [flask] = [one for one in story.of(ORDERED) if one.name == "flask"]
    assert flask.parent == ordered.span_id
    assert {one.parent for one in story.of(ORDERED) if one.name == "INSERT"} == {flask.span_id}


def test_a_refused_statement_has_its_sqlstate(story: Story) -> None:
    failed = [one for one in story.of(IN_USE) if one.failed]
    assert [(one.name, one.attributes["error.type"]) for one in failed] == [("DELETE", "23503")]
    assert story.server(IN_USE).attributes["http.response.status_code"] == 409


def test_an_unknown_path_is_not_told(story: Story) -> None:
    unknown = story.server(UNKNOWN)
    assert unknown.name == "GET"
    assert not {"http.route", "url.path"} & set(unknown.attributes)


def test_only_requests_begin_traces_and_no_probe_does(story: Story) -> None:
    """The outbox was looked at all the time, and the service was probed."""
    for one in story.spans:
        assert one.kind == "SERVER" or one.parent, one
    assert not [one for one in story.spans if "readyz" in str(one)]


def test_the_client_decides_that_there_is_no_trace(story: Story) -> None:
    assert not [one for one in story.spans if one.trace_id in UNSAMPLED]


def test_a_line_has_the_id_of_its_trace(story: Story) -> None:
    lines = [line for line in story.lines if line["logger"] == "shop.access"]
    traced = {line["request_id"]: line["trace_id"] for line in lines if "trace_id" in line}
    for number in (HIT, ORDERED, UNKNOWN):
        assert traced[story.server(number).attributes["shop.request_id"]] == trace_id(number)
    assert len(traced) == len(lines) - 1  # the one that its client would not have


def test_the_collector_knows_the_service_and_gets_its_token(story: Story) -> None:
    assert story.resource["service.name"] == "shop"
    for path, headers, _ in story.requests:
        assert path == "/v1/traces"
        assert headers["authorization"] == f"Bearer {TOKEN}"


def test_no_span_has_the_data_of_a_customer(story: Story) -> None:
    sent = b"".join(body for _, _, body in story.requests)
    assert b"GET /products" in sent
    for private in (*PRIVATE, "127.0.0.1", "python-requests"):
        assert private.encode() not in sent, private
    assert TOKEN not in str(story.lines)


def test_no_request_waits_for_a_collector_that_is_gone_or_hangs(
    serve: Callable[..., Service],
) -> None:
    port = free_port()
    began = time.monotonic()
    service = serve(WEB_CONCURRENCY="1", **sent_to(f"http://127.0.0.1:{port}"), **AT_ONCE)
    assert slowest(service) < PROMPT_SECONDS
    await_true(lambda: TOLD in service.log.read_text())
    with a_collector(port) as collector:
        collector.takes.clear()
        await_true(lambda: service.get("/products").ok and collector.requests)
        assert slowest(service) < PROMPT_SECONDS
        stopped = time.monotonic()
        service.program.stop()
        assert time.monotonic() - stopped < PATIENCE_SECONDS
    log = service.log.read_text()
    assert log.count(TOLD) <= 1 + (time.monotonic() - began) // 60
    assert not re.search(f"{TOKEN}|{port}/", log)


def slowest(service: Service) -> float:
    """Return the seconds of the slowest of some requests."""
    seconds = [service.get("/products").elapsed.total_seconds() for _ in range(50)]
    return max(seconds)


def test_nothing_is_imported_without_a_collector(serve: Callable[..., Service]) -> None:
    service = serve(PYTHONPROFILEIMPORTTIME="1", OTEL_SERVICE_NAME="shop")
    assert service.write("POST", "/categories", name="Garden").ok
    for _ in range(3):
        assert service.get("/categories").ok
    imported = service.log.read_text()
    assert "shop.edge.worker" in imported
    assert "opentelemetry.context" not in imported  # which all others of its modules import


ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (ENDPOINT, "collector:4318", "must be an URL such as http://collector:4318"),
        (ENDPOINT, "http://", "must be an URL"),
        (ENDPOINT, "grpc://collector:4317", "must be an URL"),
        (ENDPOINT, "http://collector:x", "must be an URL"),
        (ENDPOINT, "http://collector/?token=secret", "must be an URL"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer secret", "must be NAME=VALUE pairs"),
        ("OTEL_TRACES_SAMPLER", "some", "must be one of always_on, always_off"),
        ("OTEL_TRACES_SAMPLER_ARG", "5%", "must be a number from 0 to 1"),
        ("OTEL_SDK_DISABLED", "perhaps", "must be true or false"),
    ],
)
def test_a_wrong_setting_stops_the_start_in_one_line(name: str, value: str, message: str) -> None:
    given = {"DATABASE_URL": "postgresql://", ENDPOINT: "http://collector:4318", name: value}
    with pytest.raises(SettingError, match=f"{name} {message}") as refused:
        Settings.from_reader(SettingsReader(given))
    assert "secret" not in str(refused.value)


def test_settings_are_those_of_opentelemetry() -> None:
    given = {ENDPOINT: "https://collector.example/otlp", "OTEL_SERVICE_NAME": "front"}
    read = read_trace_settings(SettingsReader(given))
    assert given.items() <= read.items()
    assert read["OTEL_TRACES_SAMPLER"] == "parentbased_always_on"
    assert not read_trace_settings(SettingsReader(given | {"OTEL_SDK_DISABLED": "true"}))
    assert not read_trace_settings(SettingsReader({"OTEL_SERVICE_NAME": "front"}))
