"""Client addresses: the host that each stands for; and no answer leads away from the service."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from shop.client_address import name_address
from shop.config import Settings
from shop.environment import SettingError
from shop.ipv4_in_ipv6 import parse_prefixes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, Service, Shop

HOST = "192.0.2.33"
LOCAL = "64:ff9b:1::/96, 2001:db8:122:344::/64"
# RFC 6052, section 2.4.
TRANSLATED = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
}


@pytest.mark.parametrize(
    "written",
    [
        "::ffff:192.0.2.33", "::ffff:c000:221", "::ffff:0:192.0.2.33", "::192.0.2.33",
        "64:ff9b::192.0.2.33", "64:ff9b::c000:221", "[64:ff9b::192.0.2.33]:443",
        "2002:c000:221::1", "2002:c000:221:ffff:ffff:ffff:ffff:ffff",
        "2001:0:4136:e378:8000:63bf:3fff:fdde", "::ffff:192.0.2.33%eth0",
        "[::ffff:192.0.2.33%1]:80",
    ],
)  # fmt: skip
def test_an_ipv6_address_that_embeds_an_ipv4_address_is_that_host(written: str) -> None:
    assert name_address(written) == HOST


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("::1", "::/64"), ("::", "::/64"), ("::ffff:0:0", "::/64"), ("::0.1.2.3", "::/64"),
        ("64:ff9b::", "64:ff9b::/64"), ("64:ff9b::1:c000:221", "64:ff9b::/64"),
        ("64:ff9b:1::192.0.2.33", "64:ff9b:1::/64"), ("2002::1", "2002::/64"),
        ("2001:db8::192.0.2.33", "2001:db8::/64"), ("2001:1::c000:221", "2001:1::/64"),
        ("fe80::1%eth0", "fe80::/64"), ("::fffe:192.0.2.33", "::/64"),
        # ISATAP: whoever has a network would have as many quotas as there are IPv4 addresses.
        ("2001:db8::5efe:192.0.2.33", "2001:db8::/64"),
        ("2001:db8::200:5efe:192.0.2.33", "2001:db8::/64"),
    ],
)  # fmt: skip
def test_any_other_ipv6_address_is_its_network(written: str, network: str) -> None:
    assert name_address(written) == network


@pytest.mark.parametrize(("prefix", "written"), TRANSLATED.items())
def test_a_translator_is_configured_by_its_prefix(prefix: str, written: str) -> None:
    assert name_address(written, parse_prefixes(prefix)) == HOST
    assert name_address(written) != HOST


def test_an_address_within_the_prefix_that_is_not_translated_is_its_network() -> None:
    """Octet u of a translated one is zero."""
    prefixes = parse_prefixes("2001:db8:122:344::/64")
    assert name_address("2001:db8:122:344:1c0:2:2100::", prefixes) == "2001:db8:122:344::/64"


@pytest.mark.parametrize(
    "wrong",
    [
        "x", "192.0.2.0/24", "64:ff9b:1::/95", "64:ff9b:1::/128", "64:ff9b:1::1/96", "64:ff9b:1::",
        "64:ff9b:1:0:100::/96", "64:ff9b:1::/96,", "64:ff9b:1::/96 2001:db8::/32", "::/0",
    ],
)  # fmt: skip
def test_an_invalid_translator_prefix_stops_the_start(wrong: str) -> None:
    with pytest.raises(SettingError, match=r"^NAT64_PREFIXES must be IPv6 prefixes"):
        Settings.from_environment(
            {"DATABASE_URL": "postgresql://shop@localhost/shop", "NAT64_PREFIXES": wrong}
        )


@pytest.mark.parametrize("edge", ["true", "false"])
def test_clients_of_a_translator_have_a_quota_each(
    make_shop: Make, redis_cli: Any, edge: str
) -> None:
    shop = make_shop(
        TRUSTED_PROXIES="1", RATE_LIMIT_CALLS="3", NAT64_PREFIXES=LOCAL, EDGE_ENABLED=edge
    )
    written = ("64:ff9b::", "64:ff9b:1::", "::ffff:", "")
    for host in ("192.0.2.1", "192.0.2.2"):
        statuses = [
            shop.get("/products", headers={"X-Forwarded-For": form + host}).status_code
            for form in written
        ]
        assert statuses == [200, 200, 200, 429]
    assert set(redis_cli.keys("rate_limit:*")) == {
        "rate_limit:192.0.2.1",
        "rate_limit:192.0.2.2",
    }


def test_the_operators_commands_name_a_client_as_the_service_does(make_shop: Make) -> None:
    shop = make_shop(NAT64_PREFIXES=LOCAL)
    assert "rate_limit:192.0.2.33" in shop.command("limits", "show", "64:ff9b:1::c000:221").output


def test_no_answer_redirects(a_shop: Shop) -> None:
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
