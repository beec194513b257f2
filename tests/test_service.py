"""The service as gunicorn runs it: several workers, shutdown, metrics, logs."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from conftest import ADMIN_KEY, ROOT, await_true, waits_for_a_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop

    from dev.embedded.servers import Postgres, Redis


def sample(service: Service, name: str) -> float:
    """Add up a metric's samples whose line begins with `name`."""
    lines = service.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_metrics_count_all_workers_together(serve: Callable[..., Service], a_shop: Shop) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="3")
    for _ in range(30):
        assert service.get("/products/1").ok
    hits = 'shop_cache_reads_total{function="products.product_documents",result="hit"}'
    misses = 'shop_cache_reads_total{function="products.product_documents",result="miss"}'
    route = 'route="/products/<row_id:product_id>"'
    answered = f'{{method="GET",{route},status="200"}}'
    for _ in range(5):  # whichever worker answers
        assert (sample(service, hits), sample(service, misses)) == (29, 1)
        assert sample(service, f"shop_http_requests_total{answered}") == 30
        assert sample(service, f'shop_http_request_seconds_count{{method="GET",{route}}}') == 30
        assert sample(service, "shop_redis_breaker_open") == 0
    assert service.get("/metrics").headers["Content-Type"].startswith("text/plain; version=")


def test_metrics_show_the_results_of_cache_reads(
    serve: Callable[..., Service], a_shop: Shop
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="2")
    for path in ("/products/1", "/products/1", "/products/7", "/products/7"):
        service.get(path)
    assert service.write("PATCH", "/products/1", stock=9).ok
    function = 'function="products.product_documents"'
    for name, least in (
        (f'shop_cache_reads_total{{{function},result="hit"}}', 2),
        (f'shop_cache_reads_total{{{function},result="miss"}}', 2),
        (f"shop_cache_invalidations_total{{{function}}}", 1),
        ("shop_redis_seconds_count", 10),
    ):
        assert sample(service, name) >= least, name
    assert "shop_cache_outbox_names 0.0" in service.get("/metrics").text
    for name in ("waits", "refused_fills", "not_admitted", "errors"):
        assert f"shop_cache_{name}_total{{{function}}}" in service.get("/metrics").text
    away = serve(REDIS_URL="redis://127.0.0.1:1/0")
    assert away.write("PATCH", "/products/1", stock=8).ok
    assert sample(away, 'shop_redis_errors_total{reason="unreachable"}') >= 1
    await_true(lambda: sample(service, "shop_cache_outbox_names") == 0)


def test_the_stats_command_tells_of_the_service(
    serve: Callable[..., Service], a_shop: Shop, settings: dict[str, str]
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="2")
    for _ in range(4):
        service.get("/products/1")
    command = [str(Path(sys.executable).with_name("flask")), "cache", "stats"]

    def shown() -> str:
        run = subprocess.run(
            command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=True
        )
        return run.stdout

    rate = r"^hit rate of the service +75.0% \(3 hits, 1 misses\)$"
    await_true(lambda: re.search(rate, shown(), re.MULTILINE))


def test_metrics_show_the_number_of_workers_without_redis(
    serve: Callable[..., Service], own_redis: Redis
) -> None:
    """Workers cannot reach Redis, and count for themselves, each time that it is away."""
    service = serve(WEB_CONCURRENCY="2", REDIS_URL=own_redis.url)

    def are(number: int) -> bool:
        assert service.get("/products").ok
        gauges = ("shop_redis_breaker_open", "shop_rate_limit_fallback")
        return all(sample(service, name) == number for name in gauges)

    for _ in range(2):  # the log tells only the first, within a minute
        await_true(lambda: are(0))
        own_redis.stop()
        await_true(lambda: are(2))
        own_redis.start()
    await_true(lambda: are(0))


def test_a_write_by_one_worker_is_seen_by_all(serve: Callable[..., Service], a_shop: Shop) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="4")
    for stock in range(20):
        assert service.write("PATCH", "/products/1", stock=stock).ok
        assert {service.get("/products/1").json()["stock"] for _ in range(8)} == {stock}


def test_a_request_under_way_at_sigterm_is_answered(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres
) -> None:
    product = a_shop.create_product()
    service = serve()
    statuses: list[int] = []
    with psycopg2.connect(postgres.url) as blocker, blocker.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")

        def write() -> None:
            statuses.append(service.write("PATCH", "/products/1", stock=41).status_code)

        request = threading.Thread(target=write)
        request.start()
        await_true(lambda: waits_for_a_lock(postgres), "the write waits")
        stopping = threading.Thread(target=service.program.stop)
        stopping.start()
        await_true(lambda: "Handling signal: term" in service.log.read_text(), "SIGTERM arrives")
        assert service.program.exit_status() is None
    blocker.close()
    request.join(30)
    stopping.join(30)
    assert statuses == [200]
    assert service.program.exit_status() == 0
    assert a_shop.get("/products/1").get_json()["stock"] == 41 != product["stock"]


def chunked(service: Service, chunks: list[bytes]) -> bytes:
    """POST a body in chunks, as they are, and return the beginning of the answer."""
    host, port = service.url.removeprefix("http://").split(":")
    head = (
        f"POST /categories HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(head.encode() + b"".join(chunks))
        return raw.recv(4096)


def test_a_chunked_body_is_accepted(serve: Callable[..., Service]) -> None:
    service = serve(WEB_CONCURRENCY="1")

    def chunk(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    end = b"0\r\n\r\n"
    body = b'{"name": "Garden"}'
    assert b" 201 " in chunked(service, [chunk(body[:5]), chunk(body[5:]), end])
    spaces = chunk(b" " * 1024 * 256)
    assert b" 413 " in chunked(service, [chunk(body), *[spaces] * 4, chunk(b"garbage"), end])
    assert b" 400 " in chunked(service, [b"zz\r\nabc\r\n", end])


def test_a_client_cannot_say_where_the_application_is(serve: Callable[..., Service]) -> None:
    service = serve(WEB_CONCURRENCY="1")
    for header in ("SCRIPT_NAME", "Script-Name", "PATH_INFO"):
        response = service.get("/categories", headers={header: "/categories"})
        assert response.status_code in {200, 400}


def test_every_log_line_is_json_and_access_lines_are_whole(
    serve: Callable[..., Service], a_shop: Shop
) -> None:
    a_shop.create_product()
    service = serve()
    service.get("/products/1", headers={"X-Request-ID": "seven"})
    service.program.stop()
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    [access] = [line for line in lines if line.get("request_id") == "seven"]
    assert access["logger"] == "shop.access"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", access["time"])
    expected = {"method": "GET", "path": "/products/1", "status": 200, "cache": "MISS"}
    assert expected.items() <= access.items()
    assert not [line for line in lines if "Traceback" in json.dumps(line)]


@pytest.mark.parametrize("request_line", ["GET /\x00 HTTP/1.1", "G<>T / HTTP/1.1", "\x16\x03\x01"])
def test_a_request_that_is_not_http_is_refused_and_the_service_goes_on(
    serve: Callable[..., Service], request_line: str
) -> None:
    service = serve(WEB_CONCURRENCY="1")
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(request_line.encode() + b"\r\n\r\n")
        answer = raw.recv(4096)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert service.get("/health_check").ok


def test_a_worker_collects_no_garbage_of_the_application(
    serve: Callable[..., Service], tmp_path: Path
) -> None:
    """A collection over 100,000 objects and more would delay each request under way."""
    conf = tmp_path / "conf.py"
    conf.write_text(
        f"import gc, runpy\n"
        f"globals().update(runpy.run_path({str(ROOT / 'gunicorn.conf.py')!r}))\n"
        "initialise = post_worker_init\n"
        "def post_worker_init(worker):\n"
        "    initialise(worker)\n"
        "    counts = gc.get_freeze_count(), len(gc.get_objects())\n"
        "    worker.log.info('frozen: %d, left: %d', *counts)\n"
    )
    service = serve(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS=f"--config={conf}")
    await_true(lambda: "frozen: " in service.log.read_text(), service.log)
    told = re.search(r"frozen: (\d+), left: (\d+)", service.log.read_text())
    assert told
    frozen, left = map(int, told.groups())
    assert frozen > 50_000
    assert left < 1_000
