"""Settings: defaults, bounds, and one line for a wrong value."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from shop import config
from shop.config import Settings
from shop.environment import SettingError

ROOT = Path(__file__).parent.parent
DATABASE = {"DATABASE_URL": "postgresql://shop@localhost/shop"}


def read(**environment: str) -> Settings:
    return Settings.from_environment(DATABASE | environment)


def test_defaults() -> None:
    settings = read()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.redis_timeout, settings.redis_max_connections) == (100, 50)
    assert settings.redis_enabled
    assert (settings.redis_cache_ttl, settings.category_cache_ttl) == (300, 3600)
    assert (settings.database_lock_timeout, settings.database_statement_timeout) == (2000, 10_000)
    assert settings.rate_limit_enabled
    assert (settings.rate_limit_calls, settings.rate_limit_period) == (100, 60)
    assert (settings.write_limit_calls, settings.trusted_proxies) == (30, 0)
    assert settings.rate_limit_mode == "enforce"
    assert (settings.partner_rate_limit_calls, settings.partner_write_limit_calls) == (1000, 300)
    assert settings.unknown_key_limit_calls == 10
    assert (settings.address_limit_calls, settings.key_cache_ttl) == (1000, 300)
    assert settings.cors_origins == ()
    assert settings.search_configuration == "simple"
    assert settings.order_payment_seconds == 1800
    assert (settings.session_open_orders, settings.address_open_orders) == (5, 20)
    assert (settings.admin_api_key, settings.secret_key) == (None, None)
    assert (settings.port, settings.log_level) == (8000, "INFO")
    assert settings.web_concurrency == os.cpu_count()


def test_an_empty_value_is_not_set() -> None:
    assert read(REDIS_CACHE_TTL="", ADMIN_API_KEY=" ", REDIS_URL="", LOG_LEVEL="") == read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_CACHE_TTL", "0"), ("REDIS_CACHE_TTL", "-5"), ("REDIS_CACHE_TTL", "5 minutes"),
        ("REDIS_CACHE_TTL", "1e3"), ("REDIS_CACHE_TTL", "9" * 5000), ("REDIS_CACHE_TTL", "٣"),
        ("RATE_LIMIT_MODE", "off"), ("PARTNER_RATE_LIMIT_CALLS", "0"),
        ("PARTNER_WRITE_LIMIT_CALLS", "x"), ("UNKNOWN_KEY_LIMIT_CALLS", "-1"),
        ("ADDRESS_LIMIT_CALLS", "0"), ("KEY_CACHE_TTL", "0"),
        ("RATE_LIMIT_CALLS", "0"), ("RATE_LIMIT_PERIOD", "x"), ("WRITE_LIMIT_CALLS", "1.5"),
        ("REDIS_ENABLED", "maybe"), ("EDGE_ENABLED", "no?"), ("RATE_LIMIT_ENABLED", "2"),
        ("TRUSTED_PROXIES", "-1"), ("TRUSTED_PROXIES", "0" * 20 + "99"),
        ("ORDER_PAYMENT_SECONDS", "7776001"),
        ("SESSION_OPEN_ORDERS", "-1"), ("ADDRESS_OPEN_ORDERS", "many"),
        ("DATABASE_LOCK_TIMEOUT", "0"), ("DATABASE_LOCK_TIMEOUT", "2s"),
        ("DATABASE_STATEMENT_TIMEOUT", "999"), ("DATABASE_STATEMENT_TIMEOUT", "600001"),
        ("PORT", "70000"), ("WEB_CONCURRENCY", "0"), ("LOG_LEVEL", "LOUD"),
        ("REDIS_TIMEOUT", "9"), ("REDIS_TIMEOUT", "60001"), ("REDIS_MAX_CONNECTIONS", "5"),
        ("REDIS_PORT", "x"), ("DATABASE_URL", "mysql://x"),
        ("DATABASE_URL", "postgresql://x:y@host:port/z"), ("DATABASE_URL", ""),
        ("ADMIN_API_KEY", "short"), ("METRICS_TOKEN", "short"), ("METRICS_OPEN", "?"),
        ("SECRET_KEY", "short"), ("SEARCH_CONFIGURATION", "pg_catalog.simple"),
        ("SEARCH_CONFIGURATION", "Spanish"), ("SEARCH_CONFIGURATION", "a'b"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_in_one_line_that_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingError) as refused:
        read(**{name: value})
    assert str(refused.value).startswith(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "origins",
    [
        "https://shop.example",
        "http://localhost:3000",
        "https://shop.example,http://127.0.0.1:8080 , http://[::1]:3000",
        "https://xn--bcher-kva.example:8443",
        "http://my_shop:1",
        "*",
    ],
)
def test_origins_are_as_browsers_send_them(origins: str) -> None:
    assert read(CORS_ORIGINS=origins).cors_origins == tuple(origins.replace(" ", "").split(","))


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example/", "https://shop.example/cart", "https://shop.example?a",
        "https://shop.example#a", "https://user@shop.example", "https://shop.example.",
        "https://Shop.example", "HTTPS://shop.example", "https://bücher.example",
        "https://shop.example:443", "http://shop.example:80", "https://shop.example:",
        "https://shop.example:0", "https://shop.example:080", "https://shop.example:65536",
        "https://*.shop.example", "https://*", ".*", "null", "shop.example", "//shop.example",
        "ftp://shop.example", "https:shop.example", "https://", "https://-a.example",
        "https://a..example", "https://shop example", "https://shop.example https://b.example",
        "https://shop.example;https://b.example", "http://1.2.3", "http://1.2.3.256",
        "http://[::1", "http://[0:0::1]", "http://[1.2.3.4]", "http://[::G]", "https://a\nb",
        "*,https://shop.example", "https://shop.example,*", "https://shop.example,", ",",
        "https://shop.example,,https://b.example", "https://" + "a" * 64 + ".example",
    ],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_stops_the_start(origin: str) -> None:
    """Such an origin would match no page, or too many."""
    with pytest.raises(SettingError) as refused:
        read(CORS_ORIGINS=origin)
    assert str(refused.value).startswith("CORS_ORIGINS must be * alone, or origins such as")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["a b", "h/9?x=1", "[::1", "a@b"])
def test_a_wrong_redis_host_is_refused(host: str) -> None:
    with pytest.raises(SettingError, match="REDIS_HOST"):
        read(REDIS_HOST=host)


def test_a_redis_host_can_be_an_ipv6_address() -> None:
    assert read(REDIS_HOST="::1").redis_url == "redis://[::1]:6379/0"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_database_url_is_for_psycopg2(scheme: str) -> None:
    settings = read(DATABASE_URL=f"{scheme}://user:p%40ss@host:5433/name?sslmode=require")
    assert settings.database_url == (
        "postgresql+psycopg2://user:p%40ss@host:5433/name?sslmode=require"
    )


def test_redis_can_be_given_in_parts() -> None:
    settings = read(REDIS_HOST="cache", REDIS_PORT="6380", REDIS_DB="2", REDIS_PASSWORD="p@:/")
    assert settings.redis_url == "redis://:p%40%3A%2F@cache:6380/2"


def test_redis_can_have_a_user_whose_password_is_apart() -> None:
    parts = read(REDIS_HOST="cache", REDIS_USERNAME="sh:op", REDIS_PASSWORD="p@:/")
    assert parts.redis_url == "redis://sh%3Aop:p%40%3A%2F@cache:6379/0"
    assert read(REDIS_USERNAME="shop").redis_url == "redis://localhost:6379/0"
    for url, whole in {
        "rediss+sentinel://me@one,two/main": "rediss+sentinel://me:p%40%3A%2F@one,two/main",
        "redis://me:own@cache": "redis://me:own@cache",
        "redis://cache/0?client_name=a": "redis://cache/0?client_name=a",
    }.items():
        assert read(REDIS_URL=url, REDIS_PASSWORD="p@:/").redis_url == whole


def test_the_password_of_the_database_can_be_apart(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss\n")
    apart = {"DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
    settings = read(DATABASE_URL="postgresql://shop@host/name", **apart)
    assert settings.database_url == "postgresql+psycopg2://shop:p%40ss@host/name"
    settings = read(DATABASE_URL="postgresql://shop:own@host/name", **apart)
    assert settings.database_url == "postgresql+psycopg2://shop:own@host/name"


def test_settings_that_the_environment_lacks_are_read_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, own = tmp_path / "running.env", tmp_path / ".env"
    monkeypatch.setattr(config, "FILES", [running, own])
    assert read().port == 8000
    running.write_text("PORT=1\nLOG_LEVEL=ERROR\nREDIS_HOST='one'\n")
    own.write_text("PORT=2\nLOG_LEVEL=WARNING\n")
    settings = read(LOG_LEVEL="DEBUG")
    assert (settings.port, settings.log_level) == (2, "DEBUG")
    assert settings.redis_url == "redis://one:6379/0"


def test_a_secret_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    assert read(SECRET_KEY_FILE=str(tmp_path / "secret")).secret_key == "0123456789abcdef"
    with pytest.raises(SettingError, match="SECRET_KEY_FILE"):
        read(SECRET_KEY_FILE=str(tmp_path / "nothing"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "none", "PORT must be a whole number from 1 to 65535, not none"),
        ("REDIS_URL", "foo://x", "REDIS_URL must begin with one of redis://"),
        ("REDIS_URL", "redis://x?colour=red", "REDIS_URL has an unknown option"),
        ("REDIS_KEY_PREFIX", "products:", "REDIS_KEY_PREFIX must not have products:"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must begin with postgresql://"),
    ],
)
@pytest.mark.parametrize(
    "command", [["flask", "routes"], ["gunicorn", "wsgi:app"], ["python", "-m", "dev.embedded"]]
)
def test_a_wrong_setting_stops_every_start_with_one_line(
    command: list[str], name: str, value: str, reason: str
) -> None:
    """Two workers of gunicorn report it once, and no worker is restarted."""
    environment = {**os.environ, **DATABASE, "WEB_CONCURRENCY": "2", name: value}
    program, *arguments = command
    run = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    [line] = run.stderr.strip().splitlines()
    assert reason in line


def test_the_example_of_a_production_environment_is_what_the_service_does_without_it() -> None:
    example: dict[str, Any] = dict(dotenv_values(ROOT / ".env.production.example"))
    settings = Settings.from_environment({**example, **DATABASE})
    those_of_compose: dict[str, Any] = {
        "redis_url": read().redis_url,
        "web_concurrency": read().web_concurrency,
    }
    assert dataclasses.replace(settings, **those_of_compose) == read()
