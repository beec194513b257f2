"""Tells whether anybody listens where a connection could not be made.

What a server says of a refusal is in its own language, and the driver tells no SQLSTATE of it. But
each server, and each pooler, answers one question before it knows who asks: whether it has TLS.
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

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # its length, and its code in the protocol
PATIENCE_SECONDS = 1
PORT = "5432"
SOCKETS = "/tmp"  # noqa: S108  (where libpq looks if it is told no host)
# What PostgreSQL says while nobody at all can connect. In another language it counts as a refusal
# of this service alone, which is the cautious reading.
STARTS = re.compile(
    "FATAL:  the database system is (starting up|in recovery mode|not yet accepting connections)"
)


class Place(NamedTuple):
    """Where a server may listen: a host, or the directory of its socket."""

    host: str
    port: str

    def answers(self) -> bool:
        """Tell whether a server is there, whatever it thinks of this service.

        One that takes the connection and says nothing counts as there: it may be slow. One that
        ends it does not: so does a proxy without a server.
        """
        try:
            with self._connect() as connection:
                connection.settimeout(PATIENCE_SECONDS)
                connection.sendall(SSL_REQUEST)
                return bool(connection.recv(1))
        except TimeoutError:
            return True
        except (OSError, ValueError):
            return False

    def _connect(self) -> socket.socket:
        if not self.host.startswith(("/", "@")):
            return socket.create_connection((self.host, int(self.port)), PATIENCE_SECONDS)
        path = f"{self.host}/.s.PGSQL.{self.port}"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(path.replace("@", "\0", 1) if path[0] == "@" else path)
        except OSError:
            connection.close()
            raise
        return connection


def places(parameters: Mapping[str, Any]) -> list[Place]:
    """Return where libpq looks for a server with these parameters."""
    told = parse_dsn(make_dsn(**parameters))
    hosts = (told.get("hostaddr") or told.get("host") or SOCKETS).split(",")
    ports = (told.get("port") or PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return [
        Place(host or SOCKETS, port or PORT)
        for host, port in zip_longest(hosts, ports, fillvalue="")
    ]


def note_places(error: BaseException, parameters: Mapping[str, Any]) -> None:
    """Let an error tell where a connection was to be made."""
    with suppress(Exception):  # what libpq does not understand either
        error.places = places(parameters)  # type: ignore[attr-defined]


def nobody_listens(error: BaseException | None) -> bool:
    """Tell whether an error is of a connection that could not be made, because nobody is there."""
    tried: list[Place] = getattr(error, "places", [])
    if len(tried) == 1 and STARTS.search(str(error)):
        return True
    return bool(tried) and not any(place.answers() for place in tried)
