"""Ports of the loopback address, each for one test program alone.

A port that is only looked up can be anybody's before a server listens on it: that of an outgoing
connection, or of a test that runs beside this one. So each stays bound until this process ends.
Linux lets a server listen on it all the same, if both sockets have SO_REUSEADDR, which servers
set; until one does, connections to it are refused.
"""

from __future__ import annotations

import socket
from contextlib import suppress

BUS_OFFSET = 10_000  # the port of a Redis Cluster's bus is so much higher
HIGHEST = 65_535


def free_port() -> int:
    """Reserve a port."""
    return _reserve(0)


def free_cluster_port() -> int:
    """Reserve a port, and that of the bus of a Redis Cluster's node there."""
    while True:
        port = _reserve(0)
        if port + BUS_OFFSET <= HIGHEST:
            with suppress(OSError):
                _reserve(port + BUS_OFFSET)
                return port


def _reserve(port: int) -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))  # before it is reusable: another holder is refused
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved: int = holder.getsockname()[1]
        holder.detach()  # it stays open
        return reserved
