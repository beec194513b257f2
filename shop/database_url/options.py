"""Options of a database's URL: checks that libpq makes too late, and advice on unknown options."""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PORT_MAX = 65_535
SECRETS = {"password", "sslpassword"}
NUMBERS = {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"}
NUMBERS |= {"keepalives_count", "tcp_user_timeout"}
FILES = ("sslrootcert", "sslcrl", "sslcert", "sslkey")

# Options of Prisma, JDBC, asyncpg, Django, SQLAlchemy, node-postgres and pgx, in lower case.
ADVICE = {
    "leave it out, a worker has 6 connections at most": (
        "connection_limit max_conns pool_max_conns pool_min_conns pool_size pool_timeout poolmode "
        "pool_mode max_overflow conn_max_age conn_health_checks maxpoolsize"
    ),
    "leave it out, no statement is prepared": (
        "pgbouncer statement_cache_size prepared_statement_cache_size preparethreshold "
        "preparedstatementcachequeries statement_cache_mode default_query_exec_mode"
    ),
    "let the role have it: ALTER ROLE … SET search_path = …": "schema currentschema search_path",
    "write sslmode=require, or sslmode=verify-full with sslrootcert=FILE": (
        "ssl sslaccept sslidentity sslfactory usessl tls ssl_mode uselibpqcompat"
    ),
    "write connect_timeout=SECONDS": "connecttimeout logintimeout timeout login_timeout",
    "set DATABASE_LOCK_TIMEOUT or DATABASE_STATEMENT_TIMEOUT": (
        "lock_timeout statement_timeout query_timeout querytimeout command_timeout socket_timeout "
        "sockettimeout"
    ),
    "write target_session_attrs=read-write": "targetservertype",
    "write load_balance_hosts=random": "loadbalancehosts",
    "write application_name=NAME": "applicationname",
    "write client_encoding=NAME": "charset encoding characterencoding",
    "write user, password and the name of the database in front of the ?": (
        "username database db name"
    ),
}
ADVICE_BY_NAME = {name: text for text, names in ADVICE.items() for name in names.split()}


def unknown_option_advice(name: str) -> str:
    """Return the name of an option that libpq does not know, and advice."""
    return f"{name}: {ADVICE_BY_NAME.get(name.lower(), 'leave it out')}"


def check_options(options: Mapping[str, str]) -> None:
    """Raise SettingError for a wrong value that libpq would find only when it connects."""
    hosts, addresses = (options.get(name, "").split(",") for name in ("host", "hostaddr"))
    _check_each(hosts, _is_host, "a host is a name, an address, or the directory of a socket")
    _check_each(addresses, _is_address, "hostaddr must be an IP address")
    if all((*hosts, *addresses)) and len(hosts) != len(addresses):
        raise SettingError("DATABASE_URL must have as many addresses in hostaddr as hosts")
    _check_each(
        options.get("port", "").split(","), _is_port, f"a port is a number from 1 to {PORT_MAX}"
    )
    for name in sorted(NUMBERS & options.keys()):
        _check_each([options[name]], _is_number, f"{name} must be a whole number")
    for name in FILES:
        path = options.get(name, "")
        if "/" in path and ":" not in path:  # otherwise a name of libpq's, or a key in hardware
            _check_each([path], _is_readable, f"{name} is no file that can be read: {path}")


def _check_each(values: list[str], is_right: Callable[[str], bool], otherwise: str) -> None:
    """Raise SettingError, without the value, for a wrong value; skip empty ones."""
    if not all(map(is_right, filter(None, values))):
        raise SettingError(f"DATABASE_URL is not valid: {otherwise}")


def _is_host(text: str) -> bool:
    return text[0] in "/@" or (":" not in text and " " not in text) or _parses_as(IPv6Address, text)


def _is_address(text: str) -> bool:
    return _parses_as(ip_address, text)


def _parses_as(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 1 <= int(text) <= PORT_MAX


def _is_number(text: str) -> bool:
    return bool(re.fullmatch("-?[0-9]{1,9}", text))


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)
