"""`DATABASE_URL`: what libpq would refuse stops the start, and the rest leads where it says."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import make_url

from shop import create_app
from shop.environment import SettingError
from shop.extensions import db

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Make
    from replication import Replicated

ENCODE = "percent-encoded"
UNKNOWN = "libpq does not know"


def url_of(text: str) -> str:
    app = create_app({"DATABASE_URL": text, "REDIS_ENABLED": "false"})
    url: str = app.config["SQLALCHEMY_DATABASE_URI"]
    return url


def refused(text: str) -> str:
    with pytest.raises(SettingError) as error:
        url_of(text)
    assert str(error.value).startswith("DATABASE_URL")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("schema=public", "search_path"), ("currentSchema=shop", "search_path"),
        ("pgbouncer=true", "leave it out"), ("connection_limit=5", "leave it out"),
        ("prepareThreshold=0", "leave it out"), ("sslaccept=strict", "sslmode="),
        ("ssl=1", "sslmode="), ("ssl=verify-full", "sslmode="), ("tls=true", "sslmode="),
        ("targetServerType=primary", "target_session_attrs=read-write"),
        ("ApplicationName=shop", "application_name="), ("charset=utf8", "client_encoding="),
        ("username=shop", "in front of the ?"), ("colour=blue", "leave it out"),
        ("sslmode=require&loginTimeout=3", "connect_timeout="),
    ],
)  # fmt: skip
def test_an_option_that_libpq_does_not_know_stops_the_start(options: str, told: str) -> None:
    """The line names it, and says what to do about one of another client."""
    message = refused(f"postgresql://shop@localhost/shop?{options}")
    assert UNKNOWN in message
    assert options.rpartition("&")[2].partition("=")[0] in message
    assert told in message


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost/d?sslmode=requre", "requre"), ("localhost/d?sslmode=no-verify", "no-verify"),
        ("a:1,b:2/d?target_session_attrs=foo", "foo"), ("localhost/d?gssencmode=x", "gssencmode"),
        ("localhost/d?channel_binding=x", "channel_binding"),
        ("localhost/d?require_auth=x", "require_auth"),
        ("localhost/d?ssl_min_protocol_version=9", "ssl_min_protocol_version"),
        ("localhost/d?load_balance_hosts=x", "load_balance_hosts"),
        ("localhost/d?sslrootcert=system&sslmode=require", "sslrootcert"),
        ("localhost/d?sslrootcert=/none/such&sslmode=verify-full", "sslrootcert"),
        ("localhost/d?service=nosuch", "nosuch"), ("localhost/d?hostaddr=localhost", "hostaddr"),
        ("localhost/d?hostaddr=127.0.0.1,127.0.0.2", "hostaddr"),
        ("localhost/d?connect_timeout=soon", "connect_timeout"),
        ("localhost/d?keepalives_idle=1.5", "keepalives_idle"),
        ("localhost:70000/d", "a port"), ("localhost:0/d", "a port"), ("localhost:x/d", "a port"),
        ("a:1,b:70000/d", "a port"), ("a,b/d?port=1,2,3", "3 port numbers to 2 hosts"),
        ("localhost/d?host=a:1&host=b:2", "twice"), ("localhost/d?host=a:1", "a host"),
        ("a%20b/d", "a host"), ("[::1/d", "postgresql://USER:PASSWORD@HOST:PORT/NAME"),
        ("localhost/d?sslmode", "OPTION=VALUE"),
        ("localhost/d?sslmode=disable&sslmode=require", "sslmode twice"),
    ],
)  # fmt: skip
def test_a_value_that_libpq_refuses_stops_the_start(url: str, told: str) -> None:
    assert told in refused(f"postgresql://{url}")


@pytest.mark.parametrize("scheme", ["jdbc:postgresql", "postgresql+asyncpg", "mysql", ""])
def test_a_url_of_another_client_or_server_stops_the_start(scheme: str) -> None:
    assert "must begin with postgresql://" in refused(f"{scheme}://shop@localhost/shop")


@pytest.mark.parametrize(
    "url",
    [
        "shop:{}@x@localhost/shop", "shop:{}/x@localhost/shop", "shop:/{}@localhost/shop",
        "shop:x@{}@localhost/shop", "shop:x/{}?a=b@localhost/shop", "shop:x?{}=/@localhost/shop",
        "shop:{}?x/y@localhost/shop", "shop:x@y?a=/{}@localhost/shop", "shop:{}%zz@localhost/shop",
        "shop:%{}@localhost/shop", "localhost/shop?password=x&{}", "localhost/shop?password=x&{}=y",
        "localhost/shop?user=x&password={}%zz", "shop:{}/shop", "shop:{}@localhost/shop?sslmode=x",
        "shop:{}@localhost:0/shop", "shop:{}@localhost/shop?schema=public",
    ],
)  # fmt: skip
def test_no_part_of_a_password_is_in_the_error_message(url: str) -> None:
    secret = "Hidden_1"
    message = refused(f"postgresql://{url.format(secret)}")
    assert secret not in message


@pytest.mark.parametrize("character", "@/")
def test_a_password_character_that_ends_the_url_part_must_be_percent_encoded(
    character: str,
) -> None:
    message = refused(f"postgresql://shop:one{character}two@localhost/shop")
    assert ENCODE in message
    encoded = quote(character, safe="")
    assert make_url(url_of(f"postgresql://shop:one{encoded}two@localhost/shop")).password == (
        f"one{character}two"
    )


@pytest.mark.parametrize("character", "#?:[ %=&é")
def test_a_password_character_that_ends_no_url_part_is_accepted(character: str) -> None:
    text = "%25" if character == "%" else character
    url = make_url(url_of(f"postgresql://shop:one{text}two@localhost:5433/shop?sslmode=require"))
    assert url.password == f"one{character}two"
    assert (url.host, url.port, url.database) == ("localhost", 5433, "shop")
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", {}),
        ("shop@localhost", {"user": "shop", "host": "localhost"}),
        ("[::1]:5433/d", {"host": "::1", "port": "5433", "dbname": "d"}),
        ("/d?host=/run/pg", {"host": "/run/pg", "dbname": "d"}),
        ("%2Frun%2Fpg:5433/d", {"host": "/run/pg", "port": "5433", "dbname": "d"}),
        ("%40abstract/d", {"host": "@abstract", "dbname": "d"}),
        ("a:1,b:2/d", {"host": "a,b", "port": "1,2", "dbname": "d"}),
        ("a,b:2/d", {"host": "a,b", "port": ",2", "dbname": "d"}),
        ("[::1]:1,[::2]:2/d", {"host": "::1,::2", "port": "1,2", "dbname": "d"}),
        ("/d?host=/x,/y&port=1", {"host": "/x,/y", "port": "1,1", "dbname": "d"}),
        ("h/d?hostaddr=127.0.0.1", {"host": "h", "hostaddr": "127.0.0.1", "dbname": "d"}),
        ("h/d?ssl=true", {"host": "h", "sslmode": "require", "dbname": "d"}),
        ("h/d?options=-c%20geqo%3Doff", {"host": "h", "options": "-c geqo=off", "dbname": "d"}),
        ("h/a%20b%3Fc", {"host": "h", "dbname": "a b?c"}),
    ],
)  # fmt: skip
def test_a_url_is_read_as_libpq_reads_it(url: str, expected: dict[str, str]) -> None:
    app = create_app({"DATABASE_URL": f"postgresql://{url}", "REDIS_ENABLED": "false"})
    with app.app_context():
        [_, found] = db.engine.dialect.create_connect_args(db.engine.url)
    assert {name: str(value) for name, value in found.items()} == expected


def test_a_service_from_a_service_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text("[shop]\nhost=a,b\nport=1,2\ndbname=d\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert url_of("postgresql://?service=shop") == "postgresql+psycopg2://?service=shop"


def test_libpq_variables_of_the_environment_are_checked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "1,2")
    assert url_of("postgresql://")
    assert "hosts" in refused("postgresql:///?port=3,4")
    monkeypatch.setenv("PGSSLMODE", "requre")
    assert "requre" in refused("postgresql://")


def test_connection_settings_in_the_url_override_the_defaults(
    make_shop: Make, settings: dict[str, str]
) -> None:
    for more, expected in (("", ("3", "10000")), ("&connect_timeout=7", ("7", "10000"))):
        shop = make_shop(DATABASE_URL=settings["DATABASE_URL"] + more)
        with shop.app.app_context(), db.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            told = parse_dsn(driver.dsn)
        assert (told["connect_timeout"], told["tcp_user_timeout"]) == expected


def test_a_url_of_several_hosts_finds_the_new_primary_after_a_failover(
    make_shop: Make, replicated: Replicated
) -> None:
    primary, standby = replicated
    hosts = ",".join(str(server.socket.parent) for server in (primary, standby))
    url = f"postgresql://shop@/shop?host={hosts}&target_session_attrs=read-write"
    shop = make_shop(DATABASE_URL=url)
    shop.create_product(stock=3)
    standby.catch_up()
    primary.kill()
    standby.promote()
    assert shop.patch("/products/1", stock=4).status_code == 200
    assert shop.get("/products/1").get_json()["stock"] == 4
