"""Tells whether any server listens at the addresses of a connection that could not be made.

The message of a refusal is in the server's language, and the driver has no SQLSTATE for it. But
every server, and every pooler, answers one request before it knows the client: whether it has TLS.
"""

from __future__ import annotations

import re
import socket
import struct
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg2.extensions import make_dsn, parse_dsn

if TYPE_CHECKING:
    from collections.abc import Mapping

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # its length, and its code
TIMEOUT_SECONDS = 1
DEFAULT_PORT = "5432"
DEFAULT_SOCKETS = "/tmp"  # noqa: S108  (libpq's default)
# PostgreSQL's messages while nobody can connect. In another language they count as a refusal of
# this service alone, which is the cautious reading.
IS_STARTING = re.compile(
    "FATAL:  the database system is (starting up|in recovery mode|not yet accepting connections)"
)


class ServerAddress(NamedTuple):
    """An address at which a server may listen: a host, or the directory of its socket."""

    host: str
    port: str

    def has_server(self) -> bool:
        """Tell whether a server is there, also if it refuses this service.

        A server that accepts the connection and sends nothing counts: it may be slow. A server that
        ends the connection does not: a proxy without a server does the same.
        """
        try:
            with self._connect() as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.sendall(SSL_REQUEST)
                return bool(connection.recv(1))
        except TimeoutError:
            return True
        except (OSError, ValueError):
            return False

    def _connect(self) -> socket.socket:
        if not self.host.startswith(("/", "@")):
            return socket.create_connection((self.host, int(self.port)), TIMEOUT_SECONDS)
        path = f"{self.host}/.s.PGSQL.{self.port}"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(path.replace("@", "\0", 1) if path[0] == "@" else path)
        except OSError:
            connection.close()
            raise
        return connection


def server_addresses(parameters: Mapping[str, Any]) -> list[ServerAddress]:
    """Return the addresses at which libpq looks for a server with these parameters."""
    given = parse_dsn(make_dsn(**parameters))
    hosts = (given.get("hostaddr") or given.get("host") or DEFAULT_SOCKETS).split(",")
    ports = (given.get("port") or DEFAULT_PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return [
        ServerAddress(host or DEFAULT_SOCKETS, port or DEFAULT_PORT)
        for host, port in zip_longest(hosts, ports, fillvalue="")
    ]


def note_addresses(error: BaseException, parameters: Mapping[str, Any]) -> None:
    """Note on an error the addresses that were tried."""
    with suppress(Exception):  # parameters that libpq does not understand either
        error.tried_addresses = server_addresses(parameters)  # type: ignore[attr-defined]


def nobody_listens(error: BaseException | None) -> bool:
    """Tell whether a connection could not be made because no server listens, by its error."""
    tried: list[ServerAddress] = getattr(error, "tried_addresses", [])
    if len(tried) == 1 and IS_STARTING.search(str(error)):
        return True
    return bool(tried) and not any(address.has_server() for address in tried)
