"""The worker class of gunicorn: uvicorn's, with the edge ahead of the WSGI application."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from .application import Edge
from .connection_limits import ConnectionLimits
from .protocol import Protocol
from .server import EdgeServer

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("shop.edge")


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
        "callback_notify": None,  # it is silent while the worker ends
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.notify()  # in the master: else one that hangs before it serves is never replaced

    def init_signals(self) -> None:
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: os._exit(0))  # until it serves: nothing is lost

    async def _serve(self) -> None:
        edge = make_edge(self.wsgi)
        Protocol.limits = ConnectionLimits.of(self.cfg, self.wsgi.config["SETTINGS"])
        self.config.app = edge
        server = EdgeServer(self, edge)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None
        )
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        if left := len(server.server_state.tasks):
            _exit_without(left)


def make_edge(app: Flask) -> Edge:
    if not app.config["SETTINGS"].traces:
        return Edge(app)
    from .traced import TracedEdge  # noqa: PLC0415  (who has no traces pays nothing for them)

    return TracedEdge(app)


def _exit_without(requests: int) -> None:
    """End at once: an orderly exit would wait for the threads of these requests."""
    logger.warning("%d requests were under way and have been given up", requests)
    atexit._run_exitfuncs()  # noqa: SLF001  (what is logged is written)
    os._exit(0)
