"""Exemplars: the request ids of slow requests in `/metrics`, of all workers of a gunicorn."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import requests
from conftest import ADMIN_KEY, ROOT, await_true
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shop import exemplars, shared_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Make, Service, Shop
    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    from dev.embedded.servers import Postgres

    Serve = Callable[..., Service]

LATENCY = "shop_http_request_seconds_bucket"
PRODUCT = "/products/<row_id:product_id>"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
KEEP = """
import json, os, sys
from shop import exemplars
from shop.prometheus import Histogram
histogram = Histogram("took", "Took.", ["of"], buckets=(1, 2))
for of, amount, request_id in json.loads(sys.argv[1]):
    histogram.labels(of).observe(amount)
    histogram.labels(of).keep_exemplar(amount, request_id)
exemplars.share()
print(os.getpid())
"""


@contextmanager
def slow(postgres: Postgres) -> Iterator[None]:
    """Let writes of the first product wait until they give up: DATABASE_LOCK_TIMEOUT."""
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
        yield


def write(service: Service, request_id: str) -> int:
    """Write to the first product; return the status."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-Request-ID": request_id}
    url = f"{service.url}/products/1"
    return requests.patch(url, json={"stock": 9}, headers=headers, timeout=120).status_code


def parse(scraped: str) -> Iterator[Metric]:
    """Yield the metrics of a scrape. Raises ValueError for what OpenMetrics does not allow."""
    found: Iterator[Metric] = text_string_to_metric_families(scraped)  # type: ignore[no-untyped-call]
    return found


def found_in(scraped: str) -> dict[str, Sample]:
    """Return the samples of the latency that have an exemplar, by its request id."""
    return {
        one.exemplar.labels["request_id"]: one
        for metric in parse(scraped)
        for one in metric.samples
        if one.exemplar and one.name == LATENCY
    }


def scrape(shop: Shop, accept: str = PROMETHEUS) -> str:
    scraped: str = shop.get("/metrics", headers={"Accept": accept}).text
    return scraped


def test_a_slow_request_is_the_exemplar_of_its_bucket(make_shop: Make, postgres: Postgres) -> None:
    shop = make_shop(DATABASE_LOCK_TIMEOUT="150")
    shop.create_product()
    path, change = "/products/1", {"json": {"stock": 9}}
    fast = shop.request("PATCH", path, **change, headers={"X-Request-ID": "a-fast-one"})
    assert fast.status_code == 200
    began = time.time()
    with slow(postgres):
        refused = shop.request("PATCH", path, **change, headers={"X-Request-ID": "a-slow-one"})
    assert refused.status_code == 503
    scraped = scrape(shop)
    sample = found_in(scraped)["a-slow-one"]
    assert sample.exemplar
    assert sample.exemplar.timestamp
    bounds = [0.0, 0.1, 0.25, 0.5, 1, 2.5, 10, float("inf")]
    below = bounds[bounds.index(float(sample.labels["le"])) - 1]
    assert (sample.labels["method"], sample.labels["route"]) == ("PATCH", PRODUCT)
    assert below < sample.exemplar.value <= float(sample.labels["le"])
    assert began - 1 <= float(sample.exemplar.timestamp) <= time.time() + 1
    assert "a-fast-one" not in scraped


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=nonsense; escaping=nonsense", True),
        ("text/plain;version=0.0.4, application/openmetrics-text;q=0", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_openmetrics_are_for_those_who_accept_them(
    a_shop: Shop, accept: str, *, is_openmetrics: bool
) -> None:
    answer = a_shop.get("/metrics", headers={"Accept": accept})
    expected = "application/openmetrics-text; version=1.0.0" if is_openmetrics else "text/plain"
    assert answer.headers["Content-Type"].startswith(expected)
    assert answer.text.endswith("# EOF\n") is is_openmetrics
    assert " # {" not in answer.text or is_openmetrics
    assert answer.headers["Vary"] == "Accept"


def test_both_formats_have_the_same_series(a_shop: Shop) -> None:
    a_shop.create_product()
    a_shop.get("/products/1")

    def series(accept: str) -> set[str]:
        lines = scrape(a_shop, accept).splitlines()
        named = {line.split(" # ")[0].rpartition(" ")[0] for line in lines if line[:1] != "#"}
        return {one for one in named if "_created" not in one and "/metrics" not in one}

    assert series(PROMETHEUS) == series("*/*")


def test_exemplars_are_those_of_all_workers_and_of_those_that_ended(
    serve: Serve, a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="2", DATABASE_LOCK_TIMEOUT="150")

    def is_told() -> bool:
        answer = service.get("/metrics", headers={"Accept": PROMETHEUS})
        return "a-slow-one" in found_in(answer.text)

    with slow(postgres):
        assert write(service, "a-slow-one") == 503
    await_true(lambda: all(is_told() for _ in range(9)), service.log)  # by either worker
    with slow(postgres):
        assert write(service, "a-slow-one-later") == 503
    old = service.workers()
    for worker in old:
        os.kill(worker, signal.SIGTERM)
    service.await_replaced(old)
    answer = service.get("/metrics", headers={"Accept": PROMETHEUS})
    assert "a-slow-one-later" in found_in(answer.text)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(shared_counts, "_ended", set())
    return tmp_path


def keep(directory: Path, *observed: tuple[str, float, str], **options: Any) -> int:
    """Keep exemplars in a process of its own; return its number."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    run = subprocess.run(
        [sys.executable, "-c", KEEP, json.dumps(observed)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def kept() -> dict[tuple[str, str], str]:
    """Return the exemplars of a scrape: request ids by label and bound."""
    registry = shared_counts.registry()
    assert registry
    return {
        (one.labels["of"], one.labels["le"]): one.exemplar.labels["request_id"]
        for metric in exemplars.attach(registry.collect())
        for one in metric.samples
        if one.exemplar
    }


def test_the_latest_of_a_bucket_counts_whichever_worker_ends_first(directory: Path) -> None:
    first = keep(directory, ("a", 0.5, "old"), ("a", 5, "far"), ("b", 0.5, "other"))
    second = keep(directory, ("a", 0.7, "new"))
    expected = {("a", "1.0"): "new", ("a", "+Inf"): "far", ("b", "1.0"): "other"}
    assert kept() == expected
    for process in (second, first):
        shared_counts.merge_counts(process)
        assert kept() == expected
    assert [one.name for one in directory.glob("exemplars*")] == ["exemplars_ended.json"]


def test_without_space_on_the_disk_nothing_but_exemplars_is_missing(directory: Path) -> None:
    many = [("x" * 300 + str(number), 0.5, "id") for number in range(200)]  # 70 kB
    process = keep(directory, ("a", 0.5, "id"), *many, preexec_fn=limit_files)
    assert kept() == {}
    assert list(directory.glob("exemplars*")) == []
    shared_counts.merge_counts(process)
    assert list(directory.glob("*[0-9].db")) == []


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))  # bytes


def test_exemplars_that_cannot_be_merged_stay(directory: Path) -> None:
    process = keep(directory, ("a", 0.5, "id"))
    draft = directory / "exemplars_ended.draft"
    draft.mkdir()
    shared_counts.merge_counts(process)
    assert kept() == {("a", "1.0"): "id"}
    draft.rmdir()
    shared_counts.merge_counts(keep(directory, ("b", 0.5, "next")))
    assert kept() == {("a", "1.0"): "id", ("b", "1.0"): "next"}
    assert len(list(directory.glob("exemplars*"))) == 1


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[", b"{}", b"7", b"[7]", b'[["a"]]', b'[["a", 7, "b", "c", []]]']
)
def test_a_file_with_other_content_is_ignored(directory: Path, content: bytes) -> None:
    process = keep(directory, ("a", 0.5, "id"))
    stranger = directory / f"exemplars_{process}1.json"
    stranger.write_bytes(content)
    assert kept() == {("a", "1.0"): "id"}
    shared_counts.merge_counts(process)
    assert kept() == {("a", "1.0"): "id"}
