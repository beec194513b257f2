"""Client addresses: the host or the network that each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shop.client_address import client_name
from shop.config import Settings
from shop.environment import SettingError
from shop.ipv4_in_ipv6 import parse_prefixes

if TYPE_CHECKING:
    from conftest import Make

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
    assert client_name(written) == HOST


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
    assert client_name(written) == network


@pytest.mark.parametrize(("prefix", "written"), TRANSLATED.items())
def test_a_translator_is_configured_by_its_prefix(prefix: str, written: str) -> None:
    assert client_name(written, parse_prefixes(prefix)) == HOST
    assert client_name(written) != HOST


def test_an_address_within_the_prefix_that_is_not_translated_is_its_network() -> None:
    """Octet u of a translated one is zero."""
    prefixes = parse_prefixes("2001:db8:122:344::/64")
    assert client_name("2001:db8:122:344:1c0:2:2100::", prefixes) == "2001:db8:122:344::/64"


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
