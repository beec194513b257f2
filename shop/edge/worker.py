"""The worker class of gunicorn: uvicorn's, with the edge ahead of the WSGI application."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from .application import Edge
from .limits import Limits
from .protocol import Protocol

if TYPE_CHECKING:
    import socket

SWEEP_SECONDS = 0.5  # between two looks for connections whose deadline has passed


class Worker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS = {  # noqa: RUF012  (uvicorn's name for it)
        "loop": "uvloop",
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
    }

    async def _serve(self) -> None:
        edge = Edge(self.wsgi)
        Protocol.limits = Limits.of(self.cfg, self.wsgi.config["SETTINGS"])
        self.config.app = edge
        server = EdgeServer(self.config, edge)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class EdgeServer(Server):
    def __init__(self, config: Any, edge: Edge) -> None:
        super().__init__(config)
        self._edge = edge

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.start()
        self._sweeping = asyncio.create_task(self._sweep())
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.is_leaving = True
        await super().shutdown(sockets)
        self._sweeping.cancel()
        self._edge.stop()
        self._captured_signals.clear()  # it ends of itself, and not by the signal

    async def _sweep(self) -> None:
        """End the connections whose deadline has passed."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol) and connection.deadline < now:
                    connection.expire()
