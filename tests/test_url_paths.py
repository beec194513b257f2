"""Paths and hosts of URLs: no answer leads away from the service."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop


def test_no_answer_is_a_redirect(a_shop: Shop) -> None:
    """Every address, and forms of it that a router could put right."""
    paths = {
        rule.rule.replace("<path:name>", "x").replace("<path:filename>", "x")
        for rule in a_shop.app.url_map.iter_rules()
    }
    paths = {path if "<" not in path else path.partition("<")[0] + "1" for path in paths}
    assert len(paths) > 20
    others = {
        other
        for path in paths
        for other in (
            f"{path}/", f"{path}//", f"/{path}", path.replace("/", "//"), f"/.{path}",
            f"{path}/..", f"//other.test{path}",
        )
    }  # fmt: skip
    for path in paths | others | {""}:  # as of `GET http://other.test HTTP/1.1`
        for method in ("GET", "HEAD", "DELETE"):
            # The client would take what follows two slashes for a host.
            raw = {"PATH_INFO": path, "HTTP_HOST": "other.test"}
            answer = a_shop.request(method, "/", environ_overrides=raw)
            assert not 300 <= answer.status_code < 400, (method, path)
            assert "other.test" not in answer.headers.get("Location", "")


@pytest.mark.parametrize("path", ["/products//1", "//products/1", "/products/1/", "/products/"])
def test_a_path_with_an_extra_slash_is_unknown(a_shop: Shop, path: str) -> None:
    a_shop.create_product()
    answer = a_shop.get(path, headers={"Host": "other.test"})
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_the_documentation_is_served_with_a_trailing_slash_too(a_shop: Shop) -> None:
    assert a_shop.get("/docs/").status_code == 200
    assert a_shop.get("/docs/").data == a_shop.get("/docs").data


FORWARDED = (
    {"X-Forwarded-Ssl": "on"},
    {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
    {"X-Forwarded-Protocol": "ssl"},
    {"X-Forwarded-Proto": "ftp"},
    {"X-Forwarded-Host": "other.test", "X-Forwarded-Prefix": "/other", "X-Forwarded-Port": "9"},
    {"X-Script-Name": "/other", "Script-Name": "/other", "Path-Info": "/other"},
    {"Forwarded": "host=other.test;proto=https"},
    {"X-Original-URL": "/other", "X-Rewrite-URL": "/other"},
    {"Host": "other.test"},
)


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_forwarded_schemes_hosts_and_prefixes_are_ignored(
    serve: Callable[..., Service], a_shop: Shop, proxies: str
) -> None:
    """gunicorn ignores them, too, although it trusts this machine by default."""
    for name in "abc":
        a_shop.create_product(name=name)
    service = serve(TRUSTED_PROXIES=proxies)
    paths = ("/products?skip=1&limit=1", "/docs", "/openapi.json", "/problems/not-found")
    for path in paths:
        plain = service.get(path)
        assert plain.status_code == 200
        for headers in FORWARDED:
            answer = service.get(path, headers=headers)
            assert answer.status_code == 200, headers
            assert answer.content == plain.content
            assert answer.headers.get("Link") == plain.headers.get("Link")


def test_the_location_of_a_created_row_is_a_path(a_shop: Shop) -> None:
    headers = {"Host": "other.test", "X-Forwarded-Host": "other.test", "X-Forwarded-Proto": "https"}
    made = a_shop.request("POST", "/categories", json={"name": "Garden"}, headers=headers)
    assert made.headers["Location"] == "/categories/1"


def test_a_request_with_an_absolute_url_of_another_host_is_answered(
    serve: Callable[..., Service],
) -> None:
    service = serve()
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(
            b"GET http://other.test/products//1 HTTP/1.1\r\n"
            b"Host: other.test\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"\r\nLocation:" not in answer
