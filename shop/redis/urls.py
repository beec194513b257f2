"""Parse REDIS_URL: the servers, the login, and the encryption of connections.

    redis[s]://[USER:PASSWORD@]HOST[:PORT][/DB][?OPTION=VALUE]
    redis[s]+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST…]/SERVICE[/DB]
    redis[s]+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST…]
    unix://[USER:PASSWORD@]/PATH[?db=DB]

A URL that the service could not follow is refused, in a line that names no value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from shop.environment import SettingError

from .options import ADVICE, PLAIN, TLS, parse_options

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("redis", "redis+sentinel", "redis+cluster")
TLS_SCHEMES = tuple(scheme.replace("redis", "rediss") for scheme in SCHEMES)
PORT = 6379
SENTINEL_PORT = 26379
PORT_MAX = 65_535
DATABASE_MAX = 1_000_000

ALLOWED = PLAIN | TLS | {"db", "sentinel_username", "sentinel_password"}
KNOWN = ALLOWED | ADVICE.keys()

HostPort = tuple[str, int]  # host and port


@dataclass(frozen=True)
class RedisUrl:
    """A parsed REDIS_URL."""

    kind: str  # redis, unix, sentinel or cluster
    servers: tuple[HostPort, ...]  # empty for a socket
    path: str  # of a socket
    service: str  # name of the master, for sentinels
    login: Mapping[str, str]  # username and password, as far as there are
    sentinel_login: Mapping[str, str]
    database: int
    options: Mapping[str, Any]  # of each connection, TLS included


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a URL. Raises SettingError."""
    scheme, _, rest = url.partition("://")
    if scheme not in {*SCHEMES, *TLS_SCHEMES, "unix"}:
        expected = ", ".join(f"{one}://" for one in (*SCHEMES, *TLS_SCHEMES, "unix"))
        raise SettingError(f"REDIS_URL must begin with one of {expected}")
    _refuse_unescaped(rest)
    kind = "unix" if scheme == "unix" else scheme.rpartition("+")[2].replace("rediss", "redis")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    options = _pairs(query)
    database = options.pop("db", "")
    sentinel_login = {
        name: options.pop(f"sentinel_{name}", "") if kind == "sentinel" else ""
        for name in ("username", "password")
    }
    service, path = _service(path) if kind == "sentinel" else ("", path)
    if kind == "unix" and (hosts or not path):
        raise _invalid("unix:// is followed by the path of a socket, with three slashes")
    return RedisUrl(
        kind=kind,
        servers=() if kind == "unix" else _servers(hosts, kind),
        path=unquote(slash + path) if kind == "unix" else "",
        service=service,
        login=_login(login),
        sentinel_login={name: value for name, value in sentinel_login.items() if value},
        database=_database("" if kind == "unix" else path, database, kind),
        options=parse_options(options, is_encrypted=scheme in TLS_SCHEMES),
    )


def _invalid(reason: str) -> SettingError:
    return SettingError(f"REDIS_URL is not valid: {reason}")


def _refuse_unescaped(rest: str) -> None:
    """Refuse characters that would end a password, so that its rest is taken for another part."""
    _, *after = re.split("[/?]", rest, maxsplit=1)
    if "#" in rest or any("@" in one for one in after):
        raise _invalid(
            "write # as %23, / as %2F, ? as %3F and @ as %40 in a user, a password, or an option"
        )
    if any(not char.isprintable() for char in rest):
        raise _invalid("it has a character that cannot be printed")


def _pairs(query: str) -> dict[str, str]:
    """Return the options, each of which can be given once."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if name not in KNOWN:  # it may be the end of a password, so the message does not name it
            raise SettingError(
                "REDIS_URL has an unknown option; & in a value is written %26. Known are "
                f"{', '.join(sorted(ALLOWED))}"
            )
        if name in options:
            raise SettingError(f"REDIS_URL has the option {name} twice")
        if not value:
            raise SettingError(f"REDIS_URL has the option {name} without a value")
        options[name] = value
    return options


def _login(text: str) -> dict[str, str]:
    user, _, password = text.partition(":")
    parts = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in parts.items() if value}


def _service(path: str) -> tuple[str, str]:
    """Return the name of the service, and the rest of the path."""
    service, _, rest = path.partition("/")
    if not service:
        raise _invalid("the name of the service follows the sentinels: /SERVICE")
    return unquote(service), rest


def _servers(hosts: str, kind: str) -> tuple[HostPort, ...]:
    if not hosts and kind == "redis":
        return (("localhost", PORT),)
    default = SENTINEL_PORT if kind == "sentinel" else PORT
    servers = tuple(_server(one.strip(), default) for one in hosts.split(","))
    if kind == "redis" and len(servers) > 1:
        raise _invalid("several hosts are those of redis+sentinel:// or of redis+cluster://")
    return servers


def _server(text: str, default: int) -> HostPort:
    found = re.fullmatch(r"(\[[^]]*\]|[^][:%\s]+)(?::([0-9]{1,5}))?", text)
    if found is None:
        raise _invalid("a host is HOST or HOST:PORT, and an IPv6 address is in brackets")
    host, port = unquote(found[1]), int(found[2] or default)
    if not 1 <= port <= PORT_MAX:
        raise _invalid(f"a port is a number from 1 to {PORT_MAX}")
    if not host.startswith("["):
        return host, port
    try:
        return str(IPv6Address(host[1:-1])), port
    except ValueError:
        raise _invalid("what is in brackets is no IPv6 address") from None


def _database(path: str, option: str, kind: str) -> int:
    path = path.removesuffix("/")
    if path and option and path != option:
        raise _invalid("it names two databases")
    text = path or option or "0"
    if not re.fullmatch("[0-9]{1,7}", text) or int(text) > DATABASE_MAX:
        raise _invalid(f"a database is a number from 0 to {DATABASE_MAX}")
    if kind == "cluster" and int(text):
        raise _invalid("a cluster has the database 0 alone")
    return int(text)
