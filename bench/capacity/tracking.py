"""The cost of a change for Redis, which tells it every client that keeps answers."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from bench.wrk import Request

from .ground import WORKER, rest

if TYPE_CHECKING:
    from .ground import Ground

CLIENTS = (0, 10, 100, 1000)
CHANGES = 4000
BATCH = 4  # changes at once, as a write makes them
TRACK = b"HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX products:\r\n"


class Listeners:
    """Clients of Redis that read what it tells, and do nothing with it."""

    def __init__(self, path: str, number: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [self._connect(path) for _ in range(number)]
        self._running = True
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _connect(self, path: str) -> socket.socket:
        one = socket.socket(socket.AF_UNIX)
        one.connect(path)
        one.sendall(TRACK)
        self._selector.register(one, selectors.EVENT_READ)
        return one

    def _read(self) -> None:
        while self._running:
            for key, _ in self._selector.select(0.1):
                key.fileobj.recv(1 << 16)  # type: ignore[union-attr]

    def close(self) -> None:
        self._running = False
        self._thread.join()
        for one in self._sockets:
            one.close()
        self._selector.close()


def measure(this: Ground) -> list[dict[str, Any]]:
    """Return the microseconds of Redis for a change, by the number of clients that are told."""
    this.ask([Request("GET", "/products/1")] * 3)
    background = rest(5, this)
    return [_cost(this, clients, background) for clients in CLIENTS]


def _cost(this: Ground, clients: int, background: dict[str, float]) -> dict[str, Any]:
    store: Any = this.served.store
    listeners = Listeners(store.connection_pool.connection_kwargs["path"], clients)
    try:
        store.ping()
        before, worker, began = redis_cpu(store), this.cpu()[WORKER], time.monotonic()
        for first in range(0, CHANGES, BATCH):
            with store.pipeline(transaction=False) as pipeline:
                for number in range(first, first + BATCH):
                    pipeline.set(f"products:id:{number}", "x")
                pipeline.execute()
        took, used, worker = (
            time.monotonic() - began,
            redis_cpu(store) - before,
            this.cpu()[WORKER] - worker,
        )
    finally:
        listeners.close()
    return {
        "clients": clients,
        "redis": round(1e6 * used / CHANGES, 1),
        "worker": round((worker - background[WORKER] * took) / CHANGES, 1),
    }


def redis_cpu(store: Any) -> float:
    """Return the seconds of CPU time that a Redis has used."""
    said = store.info("cpu")
    return float(said["used_cpu_user"] + said["used_cpu_sys"])
