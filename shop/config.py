"""Every setting: its name, unit, bounds and default, read from the environment once.

A secret NAME can also be given as NAME_FILE, the path of a file that holds it. Settings that the
environment lacks are read from `.env`, and then from `instance/running.env`, which exists while
`make run` runs, so that `flask` commands in the same checkout use its servers.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import current_app

from shop.database_url import URL_FORM, parse_database_url

from .environment import SettingError, SettingsReader, read_lines, without_dotenv
from .trace_settings import read_trace_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ipv4_in_ipv6 import Nat64Prefix

ROOT = Path(__file__).parent.parent
RUNNING_ENV = ROOT / "instance" / "running.env"
DOT_ENV = ROOT / ".env"
FILES = [RUNNING_ENV, DOT_ENV]  # a later file overrides; the environment overrides both

PRODUCTS_PAGE_SIZE = (10, 100)  # rows: default, maximum
CATEGORIES_PAGE_SIZE = (100, 1000)
SKIP_MAX = 10_000  # rows before a page of products; further pages begin after a row
NAMED_ROWS_MAX = 100  # products or categories that a query can name
SEARCH_TEXT_MAX = 200  # characters of a search
SUGGESTIONS_MAX = 10
ORDERS_PAGE_SIZE = (20, 100)
BEST_SELLERS_PAGE_SIZE = (10, 100)
LINES_MAX = 100  # of an order or a cart
QUANTITY_MAX = 10_000  # of a line
PATH_SHOWN_MAX = 2048  # characters of a request's path, in logs and answers
BODY_MAX = 64 * 1024  # bytes of a request, where its route does not declare another limit
LARGE_BODY_MAX = 1024 * 1024  # of a product, a category or an order: writes that need a key
PREFLIGHT_SECONDS = 7200  # a browser keeps a preflight's answer; the maximum of Chromium
CONDITION_MAX = 2000  # characters of If-Match and of If-None-Match
DAY = 86_400
SESSION_SECONDS = DAY  # a session ends after so long without use
RENEWAL_SECONDS = 3600  # between two renewals of a session, so that not every use is written
IDEMPOTENCY_KEY_MAX = 255  # characters
IDEMPOTENCY_SECONDS = DAY  # an answer is kept for requests that repeat its key
PAYMENT_MAX = 90 * DAY  # seconds
WAIT_MAX = 600_000  # milliseconds
CALLS_MAX = 1_000_000  # of any quota
ADDRESS_CLIENTS = 10  # by default an address has the quota of so many clients
TIERS = ("standard", "partner", "unlimited")  # of API keys; a client without one is standard
THREADS = 4  # of a worker
# Connections of a worker: one for each of its threads. A request fails if it gets no connection in
# time.
DATABASE_POOL = {
    "hide_parameters": True,  # customers' data is kept out of errors and logs
    "pool_size": THREADS,
    "max_overflow": 2,
    "pool_timeout": 5,  # seconds
}
# Options of each connection; those in DATABASE_URL override them.
DATABASE_CONNECTION = {
    "connect_timeout": 3,  # seconds, for each host
    "tcp_user_timeout": 10_000,  # milliseconds without an answer until a connection counts as lost
}
# A connection that was idle for so long is replaced: a firewall may have dropped it in silence.
DATABASE_IDLE_SECONDS = 10
# PostgreSQL rolls back a transaction that is idle for so long: its writer is gone.
TRANSACTION_IDLE_SECONDS = 10
# Of a REDIS_URL; its password is then another setting.
USER_WITHOUT_PASSWORD = re.compile("(?<=://)[^:@/?#]+(?=@)")


@dataclass(frozen=True)
class Settings:
    database_url: str
    database_lock_timeout: int  # milliseconds that a request waits for a lock in PostgreSQL
    database_statement_timeout: int  # milliseconds that one statement of a request may take
    redis_url: str
    redis_key_prefix: str  # of every name, for installations that share a Redis
    redis_timeout: int  # milliseconds, to connect and to read: Redis answers fast or not at all
    redis_max_connections: int  # per worker
    redis_enabled: bool
    redis_cache_ttl: int  # seconds, products
    category_cache_ttl: int  # seconds
    session_cache_ttl: int  # seconds
    key_cache_ttl: int  # seconds
    best_sellers_cache_ttl: int  # seconds
    dashboard_cache_ttl: int  # seconds
    search_configuration: str  # of PostgreSQL's text search
    cache_stale_if_error: int  # seconds that an expired document may be answered in need
    order_payment_seconds: int  # until an unpaid order is cancelled; 0: never
    session_open_orders: int  # unpaid orders of one session without a key; 0: any number
    address_open_orders: int  # unpaid orders of one address; 0: any number
    edge_enabled: bool
    rate_limit_enabled: bool
    rate_limit_mode: str  # enforce, or shadow: counts and refuses nothing
    rate_limit_calls: int  # requests of one client in a period
    address_limit_calls: int  # requests of an address and all its sessions in a period
    rate_limit_period: int  # seconds
    write_limit_calls: int  # writes of one client in a period
    partner_rate_limit_calls: int  # both for a key of the tier partner
    partner_write_limit_calls: int
    session_limit_calls: int  # sessions that one address opens in a period
    unknown_key_limit_calls: int  # requests of one address in a period with unknown keys
    cors_origins: tuple[str, ...]  # pages of these may read answers in a browser; *: of any
    nat64_prefixes: tuple[Nat64Prefix, ...]  # networks whose addresses embed IPv4 addresses
    trusted_proxies: int  # proxies in front that append to X-Forwarded-For
    metrics_token: str | None  # that reads /metrics
    metrics_open: bool  # everybody may read /metrics, if there is no token
    ops_page: bool  # /ops, and its calls
    admin_api_key: str | None
    secret_key: str | None
    revision: str  # of the code; empty if nobody has said it
    port: int
    web_concurrency: int  # worker processes
    request_queue: int  # requests of a worker that may wait for a thread
    head_timeout: int  # seconds that the head of a request may take to arrive
    drain_seconds: int  # a worker that ends still answers new requests for so long
    log_level: str
    traces: Mapping[str, str]  # variables of OpenTelemetry; none: there are no traces
    service_links: frozenset[str]  # names that Kubernetes has set; they count as not set

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings.

        Raises SettingError for the first that is missing or wrong.
        """
        if environment.get("FLASK_RUN_FROM_CLI"):
            environment = without_dotenv(environment, DOT_ENV)
        return cls.from_reader(SettingsReader(environment, *map(read_lines, reversed(FILES))))

    @classmethod
    def from_reader(cls, read: SettingsReader) -> Settings:
        """Read each setting by its name, with its default and bounds."""
        read.text("REDIS_PORT")  # notes a service link, also where REDIS_URL overrides it
        calls = read.number("RATE_LIMIT_CALLS", 100, 1, CALLS_MAX)
        address_calls = min(ADDRESS_CLIENTS * calls, CALLS_MAX)
        return cls(
            database_url=_database_url(read),
            database_lock_timeout=read.number("DATABASE_LOCK_TIMEOUT", 2000, 1, WAIT_MAX),
            database_statement_timeout=read.number(
                "DATABASE_STATEMENT_TIMEOUT", 10_000, 1000, WAIT_MAX
            ),
            redis_url=_redis_url(read),
            redis_key_prefix=read.short_name("REDIS_KEY_PREFIX"),
            redis_timeout=read.number("REDIS_TIMEOUT", 100, 10, 60_000),
            redis_max_connections=read.number("REDIS_MAX_CONNECTIONS", 50, 10, 10_000),
            redis_enabled=read.flag("REDIS_ENABLED", default=True),
            redis_cache_ttl=read.number("REDIS_CACHE_TTL", 300, 1, DAY),
            category_cache_ttl=read.number("CATEGORY_CACHE_TTL", 3600, 1, DAY),
            session_cache_ttl=read.number("SESSION_CACHE_TTL", 300, 1, DAY),
            key_cache_ttl=read.number("KEY_CACHE_TTL", 300, 1, DAY),
            best_sellers_cache_ttl=read.number("BEST_SELLERS_CACHE_TTL", 3600, 1, DAY),
            dashboard_cache_ttl=read.number("DASHBOARD_CACHE_TTL", 600, 1, DAY),
            search_configuration=read.word("SEARCH_CONFIGURATION", "simple"),
            cache_stale_if_error=read.number("CACHE_STALE_IF_ERROR", 0, 0, DAY),
            order_payment_seconds=read.number("ORDER_PAYMENT_SECONDS", 1800, 0, PAYMENT_MAX),
            session_open_orders=read.number("SESSION_OPEN_ORDERS", 5, 0, CALLS_MAX),
            address_open_orders=read.number("ADDRESS_OPEN_ORDERS", 20, 0, CALLS_MAX),
            edge_enabled=read.flag("EDGE_ENABLED", default=True),
            rate_limit_enabled=read.flag("RATE_LIMIT_ENABLED", default=True),
            rate_limit_mode=read.choice("RATE_LIMIT_MODE", "enforce", ("enforce", "shadow")),
            rate_limit_calls=calls,
            address_limit_calls=read.number("ADDRESS_LIMIT_CALLS", address_calls, 1, CALLS_MAX),
            rate_limit_period=read.number("RATE_LIMIT_PERIOD", 60, 1, DAY),
            write_limit_calls=read.number("WRITE_LIMIT_CALLS", 30, 1, CALLS_MAX),
            partner_rate_limit_calls=read.number("PARTNER_RATE_LIMIT_CALLS", 1000, 1, CALLS_MAX),
            partner_write_limit_calls=read.number("PARTNER_WRITE_LIMIT_CALLS", 300, 1, CALLS_MAX),
            session_limit_calls=read.number("SESSION_LIMIT_CALLS", 10, 1, CALLS_MAX),
            unknown_key_limit_calls=read.number("UNKNOWN_KEY_LIMIT_CALLS", 10, 1, CALLS_MAX),
            cors_origins=read.origins("CORS_ORIGINS"),
            nat64_prefixes=read.prefixes("NAT64_PREFIXES"),
            trusted_proxies=read.number("TRUSTED_PROXIES", 0, 0, 10),
            metrics_token=read.secret("METRICS_TOKEN", shortest=16),
            metrics_open=read.flag("METRICS_OPEN", default=False),
            ops_page=read.flag("OPS_PAGE", default=True),
            admin_api_key=read.secret("ADMIN_API_KEY", shortest=16),
            secret_key=read.secret("SECRET_KEY", shortest=16),
            revision=read.short_name("REVISION"),
            port=read.number("PORT", 8000, 1, 65_535),
            web_concurrency=read.number("WEB_CONCURRENCY", os.cpu_count() or 1, 1, 256),
            request_queue=read.number("REQUEST_QUEUE", 256, 0, 10_000),
            head_timeout=read.number("HEAD_TIMEOUT", 10, 1, 600),
            drain_seconds=read.number("DRAIN_SECONDS", 2, 0, 120),
            log_level=read.choice(
                "LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
            ),
            traces=read_trace_settings(read),
            service_links=frozenset(read.service_links),  # after all others were read
        )

    def remarks(self) -> list[str]:
        """Return the remarks on the settings that the service logs when it starts."""
        return [
            f"{name} is a service link of Kubernetes or Docker, and counts as not set"
            for name in sorted(self.service_links)
        ]


def settings_from_files() -> dict[str, str]:
    """Return the settings in `.env` and in `instance/running.env`, if these files exist."""
    found: dict[str, str] = {}
    for path in FILES:
        found |= read_lines(path)
    return found


def _database_url(read: SettingsReader) -> str:
    url = read.text("DATABASE_URL")
    if url is None:
        raise SettingError(f"DATABASE_URL is not set: {URL_FORM}")
    return parse_database_url(url, read.secret("DATABASE_PASSWORD", shortest=1))


def _redis_url(read: SettingsReader) -> str:
    password = quote(read.secret("REDIS_PASSWORD", shortest=1) or "", safe="")
    if url := read.text("REDIS_URL"):
        return USER_WITHOUT_PASSWORD.sub(rf"\g<0>:{password}", url) if password else url
    host = read.text("REDIS_HOST") or "localhost"
    if ":" in host:
        host = f"[{host}]"
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host):
        raise SettingError(f"REDIS_HOST must be the name or the address of a host, not {host}")
    port = read.number("REDIS_PORT", 6379, 1, 65_535)
    database = read.number("REDIS_DB", 0, 0, 1_000_000)
    user = quote(read.text("REDIS_USERNAME") or "", safe="")
    login = f"{user}:{password}@" if password else ""
    return f"redis://{login}{host}:{port}/{database}"


def current_settings() -> Settings:
    """Return the settings of the current application."""
    settings: Settings = current_app.config["SETTINGS"]
    return settings
