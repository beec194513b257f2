"""The parts of REDIS_URL, and the values that stop the start because they are not supported."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import redis

from shop import create_app
from shop.environment import SettingError
from shop.redis.client import connect
from shop.redis.urls import parse_redis_url

DATABASE = {"DATABASE_URL": "postgresql://localhost/shop"}
NOT_VALID = "REDIS_URL is not valid: "


@pytest.mark.parametrize(
    ("url", "kind", "servers"),
    [
        ("redis://host", "redis", [("host", 6379)]),
        ("redis://", "redis", [("localhost", 6379)]),
        ("redis:///3", "redis", [("localhost", 6379)]),
        ("rediss://host:6380/1", "redis", [("host", 6380)]),
        ("redis://[::1]", "redis", [("::1", 6379)]),
        ("redis://[2001:DB8::1]:7000/0", "redis", [("2001:db8::1", 7000)]),
        ("redis://[fe80::1%25eth0]:7000", "redis", [("fe80::1%eth0", 7000)]),
        ("redis+sentinel://a,b:1,[::1]:2/main", "sentinel", [("a", 26379), ("b", 1), ("::1", 2)]),
        ("rediss+sentinel://u:p@a, b , c:1/m", "sentinel", [("a", 26379), ("b", 26379), ("c", 1)]),
        ("redis+cluster://a:1,[::1]", "cluster", [("a", 1), ("::1", 6379)]),
        ("rediss+cluster://a:1/0", "cluster", [("a", 1)]),
        ("unix:///run/redis.sock?db=1", "unix", []),
    ],
)  # fmt: skip
def test_every_form_of_url_is_parsed_to_its_hosts(
    url: str, kind: str, servers: list[tuple[str, int]]
) -> None:
    parsed = parse_redis_url(url)
    assert (parsed.kind, list(parsed.servers)) == (kind, servers)
    assert bool(parsed.options.get("ssl")) == url.startswith("rediss")


@pytest.mark.parametrize(
    "url",
    [
        "redis://us%40er:s%23e%2Fc%3Fr%40t@host/7",
        "redis://us%40er:s%23e%2Fc%3Fr%40t@host?db=7",
        "rediss://us%40er:s%23e%2Fc%3Fr%40t@host/7?db=7",
        "unix://us%40er:s%23e%2Fc%3Fr%40t@/run/redis.sock?db=7",
        "redis+sentinel://us%40er:s%23e%2Fc%3Fr%40t@one,two/main/7",
    ],
)
def test_the_login_and_the_database_are_read_from_the_url(url: str) -> None:
    parsed = parse_redis_url(url)
    assert parsed.login == {"username": "us@er", "password": "s#e/c?r@t"}
    assert parsed.database == 7


def test_a_path_and_a_service_are_decoded() -> None:
    assert parse_redis_url("unix:///run/my%20redis%23.sock").path == "/run/my redis#.sock"
    assert parse_redis_url("redis+sentinel://one/my%20main").service == "my main"


def test_sentinels_have_a_login_of_their_own() -> None:
    url = "redis+sentinel://:a+b@one/main?sentinel_username=watch&sentinel_password=b%26c+d"
    parsed = parse_redis_url(url)
    assert parsed.login == {"password": "a+b"}
    assert parsed.sentinel_login == {"username": "watch", "password": "b&c+d"}
    assert parse_redis_url("redis+sentinel://:a@one/main").sentinel_login == {}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://secret", "REDIS_URL must begin with one of redis://"),
        ("redis+tls://secret", "REDIS_URL must begin with one of redis://"),
        ("host:6379", "REDIS_URL must begin with one of redis://"),
        ("redis://:123#secret@host", f"{NOT_VALID}write # as %23"),
        ("redis://host/0#secret", f"{NOT_VALID}write # as %23"),
        ("redis://:sec/ret@host", f"{NOT_VALID}write # as %23"),
        ("redis://:sec?ret@host", f"{NOT_VALID}write # as %23"),
        ("redis://:sec?a=b&ret@host", f"{NOT_VALID}write # as %23"),
        ("redis+sentinel://:sec/ret@host/main", f"{NOT_VALID}write # as %23"),
        ("redis+cluster://:sec/ret@host", f"{NOT_VALID}write # as %23"),
        ("unix://:sec/ret@/run/redis.sock", f"{NOT_VALID}write # as %23"),
        ("redis://secret/x", f"{NOT_VALID}a database is a number"),
        ("redis://secret/1/2", f"{NOT_VALID}a database is a number"),
        ("redis://secret/9999999", f"{NOT_VALID}a database is a number"),
        ("redis://secret?db=-1", f"{NOT_VALID}a database is a number"),
        ("redis://secret/1?db=2", f"{NOT_VALID}it names two databases"),
        ("unix:///secret?db=x", f"{NOT_VALID}a database is a number"),
        ("redis+cluster://secret/1", f"{NOT_VALID}a cluster has the database 0 alone"),
        ("redis://secret:port", f"{NOT_VALID}a host is HOST or HOST:PORT"),
        ("redis://secret:0", f"{NOT_VALID}a port is a number"),
        ("redis://secret:99999", f"{NOT_VALID}a port is a number"),
        ("redis://secret:999999", f"{NOT_VALID}a host is HOST"),
        ("redis://:6379", f"{NOT_VALID}a host is HOST"),
        ("redis://::1", f"{NOT_VALID}a host is HOST or HOST:PORT, and an IPv6 address is in"),
        ("redis://[::1", f"{NOT_VALID}a host is HOST"),
        ("redis://[secret]", f"{NOT_VALID}what is in brackets"),
        ("redis://sec ret", f"{NOT_VALID}a host is HOST"),
        ("redis://sec\nret", f"{NOT_VALID}it has a character that cannot be printed"),
        ("redis://one,secret", f"{NOT_VALID}several hosts are those of"),
        ("redis+cluster://", f"{NOT_VALID}a host is HOST"),
        ("redis+cluster://one,,secret", f"{NOT_VALID}a host is HOST"),
        ("redis+sentinel:///main", f"{NOT_VALID}a host is HOST"),
        ("redis+sentinel://secret:26379", f"{NOT_VALID}the name of the service"),
        ("redis+sentinel://secret/main/x", f"{NOT_VALID}a database is a number"),
        ("unix://secret", f"{NOT_VALID}unix:// is followed by the path"),
        ("unix://", f"{NOT_VALID}unix:// is followed by the path"),
        ("redis://h?ssl=secret", "REDIS_URL has the option ssl: write rediss://"),
        ("redis+sentinel://h/m?ssl=secret", "REDIS_URL has the option ssl: write rediss://"),
        ("redis://h?socket_timeout=secret", "the option socket_timeout: REDIS_TIMEOUT sets it"),
        ("redis://h?max_connections=secret", "max_connections: REDIS_MAX_CONNECTIONS sets it"),
        ("redis://h?decode_responses=secret", "decode_responses: the service sets it itself"),
        ("redis+cluster://h?protocol=secret", "protocol: the service sets it itself"),
        ("redis://h?password=secret", "password: write it in front of the host"),
        ("redis://h?such=secret", "REDIS_URL has an unknown option; & in a value"),
        ("redis+sentinel://h/m?sentinel_password=a&secret", "REDIS_URL has an unknown option"),
        ("redis+sentinel://h/m?sentinel_password=a&secret=b", "REDIS_URL has an unknown option"),
        ("redis://h?sentinel_password=secret", "sentinel_password: it is of redis+sentinel://"),
        ("redis://h?client_name=sec%20ret", "the option client_name: a name has no spaces"),
        ("redis://h%2Fsecret", f"{NOT_VALID}a host is HOST"),
        ("redis://h?client_name=secret&client_name=b", "the option client_name twice"),
        ("redis://h?client_name", "the option client_name without a value"),
        ("redis://h?ssl_ca_certs=/secret", "the option ssl_ca_certs, which needs rediss://"),
        ("rediss://h?ssl_ca_certs=/secret", "the option ssl_ca_certs, no file to be read"),
        ("rediss://h?ssl_ca_certs=%00secret", "the option ssl_ca_certs, no file to be read"),
        (f"rediss://h?ssl_ca_certs={Path(__file__)}", "the option ssl_ca_certs, no certificates"),
        (f"rediss://h?ssl_keyfile={Path(__file__)}", "ssl_keyfile, which needs ssl_certfile"),
        (f"rediss://h?ssl_certfile={Path(__file__)}", "ssl_certfile, no certificate with its key"),
        ("rediss://h?ssl_cert_reqs=secret", "ssl_cert_reqs, which is required or none"),
        ("rediss://h?ssl_check_hostname=secret", "ssl_check_hostname, which is true or"),
    ],
)  # fmt: skip
def test_a_url_that_asks_for_unsupported_behaviour_stops_the_start(url: str, told: str) -> None:
    """The message is one line, without any part of a password."""
    with pytest.raises(SettingError) as refused:
        create_app({**DATABASE, "REDIS_URL": url})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "ret" not in str(refused.value).replace("retry", "")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "rediss+sentinel"])
def test_nothing_but_the_settings_says_how_long_redis_is_waited_for(scheme: str) -> None:
    url = parse_redis_url(f"{scheme}://user:word@host:1234/{'main' * ('sentinel' in scheme)}")
    client = connect(url, timeout=0.25, max_connections=7)
    pool = client.connection_pool
    told = pool.connection_kwargs
    assert (told["socket_timeout"], told["socket_connect_timeout"]) == (0.25, 0.25)
    assert (pool.max_connections, told["decode_responses"]) == (7, False)
    assert (told["username"], told["password"]) == ("user", "word")
    assert told["retry"].get_retries() == 0
    assert issubclass(pool.connection_class, redis.SSLConnection) == scheme.startswith("rediss")


@pytest.mark.parametrize(
    ("options", "is_verified", "is_named"),
    [
        ("", True, True),
        ("?ssl_cert_reqs=required&ssl_check_hostname=true", True, True),
        ("?ssl_check_hostname=false", True, False),
        ("?ssl_cert_reqs=none", False, False),
    ],
)
def test_a_certificate_is_verified_by_default(
    options: str,
    is_verified: bool,  # noqa: FBT001
    is_named: bool,  # noqa: FBT001
) -> None:
    url = parse_redis_url(f"rediss+sentinel://one/main{options}")
    client: Any = connect(url, timeout=0.1, max_connections=2)
    clients = [client, *client.sentinels._clients.values()]
    for one in clients:
        connection = one.connection_pool.make_connection()
        assert connection.cert_reqs == (ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE)
        assert connection.check_hostname == is_named


def test_readable_certificates_are_accepted(tmp_path: Path) -> None:
    """The certificates are those of the system, in a file."""
    bundle = tmp_path / "ca.crt"
    bundle.write_text("\n".join(map(ssl.DER_cert_to_PEM_cert, system_certificates())))
    parsed = parse_redis_url(f"rediss://host?ssl_ca_certs={bundle}")
    assert parsed.options["ssl_ca_certs"] == str(bundle)


def system_certificates() -> list[bytes]:
    context = ssl.create_default_context()
    return context.get_ca_certs(binary_form=True)[:1]
