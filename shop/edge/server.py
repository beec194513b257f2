"""The server of a worker: it starts, accepts connections, and shuts down without losing a request.

A shutdown has steps. For half of DRAIN_SECONDS the worker goes on as before, but each answer says
`Connection: close`, and the worker is not ready, so that balancers turn to others. Then it accepts
no more connections, and for the other half answers requests on the connections that are open: a
client may have sent a request before it read that the connection ends (RFC 9112, section 9.6). Then
it closes idle connections, and waits for the requests under way.

Before the shutdown the worker waits for workers that are starting: after SIGHUP gunicorn asks the
old workers to end as soon as it has forked new ones, and these still import the application. After
`--max-requests` the worker waits until another one serves, so that they end one after another.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from uvicorn.server import Server

from shop import worker_states
from shop.worker_states import WorkerState

from .protocol import Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from .application import Edge

SWEEP_SECONDS = 0.5  # between two looks for connections whose deadline has passed
LOOK_SECONDS = 0.05  # between two looks at what is left to end
ACCEPTED = 32  # clients in a turn of the loop; uvloop alone accepts one, however long a turn takes
MARGIN_SECONDS = 1.0  # of gunicorn's `graceful_timeout`, after which it kills


class EdgeServer(Server):
    def __init__(self, worker: Any, edge: Edge) -> None:
        super().__init__(worker.config)
        self._worker = worker
        self._edge = edge
        self._drain_seconds: int = worker.wsgi.config["SETTINGS"].drain_seconds
        self._patience: float = worker.cfg.graceful_timeout
        self._asked_at: float | None = None  # to end
        self._listeners: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.start()
        self._sweeping = asyncio.create_task(self._sweep())
        await super().startup(sockets)
        self._listeners = [one.dup() for one in sockets or []]
        for one in self._listeners:
            asyncio.get_running_loop().add_reader(one, self._accept, one)
        worker_states.note(self._worker.age, WorkerState.SERVING)

    def _accept(self, listener: socket.socket) -> None:
        """Accept all clients that wait, so that no client waits for a turn of its own."""
        for client in islice(_accept_all(listener), ACCEPTED):
            connecting = asyncio.create_task(self._connect(client))
            self._connecting.add(connecting)
            connecting.add_done_callback(self._connecting.discard)

    async def _sweep(self) -> None:
        """Show gunicorn that the loop runs, and end connections whose deadline has passed."""
        loop = asyncio.get_running_loop()
        while True:
            self._worker.notify()
            now = loop.time()
            for connection in self._connections():
                if connection.deadline < now:
                    connection.expire()
            await asyncio.sleep(SWEEP_SECONDS)

    def _connections(self) -> list[Protocol]:
        return [one for one in self.server_state.connections if isinstance(one, Protocol)]

    # Signals and other reasons to end.

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGTERM asks to end in order, SIGINT and SIGQUIT to end at once."""
        self.should_exit = True
        self.force_exit = self.force_exit or sig != signal.SIGTERM

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server ends now."""
        is_asked = await super().on_tick(counter)
        if os.getppid() != self._worker.ppid or not self._worker.alive:
            self.should_exit = is_asked = True
        return self.force_exit or (is_asked and not self._has_to_wait())

    def _has_to_wait(self) -> bool:
        """Return whether another worker has to serve first."""
        now = asyncio.get_running_loop().time()
        self._asked_at = self._asked_at or now
        if now > self._asked_at + self._patience:
            return False
        if self.should_exit:
            return worker_states.count(WorkerState.STARTING) > 0
        # After --max-requests: gunicorn starts the next one when this one has gone.
        return self._worker.cfg.workers > 1 and worker_states.count(WorkerState.SERVING) == 1

    # The end.

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        worker_states.note(self._worker.age, WorkerState.LEAVING)
        ends = asyncio.get_running_loop().time() + max(0.0, self._patience - MARGIN_SECONDS)
        Protocol.is_leaving = True
        for connection in self._connections():
            connection.shutdown()
        await self._go_on(self._drain_seconds / 2, ends)
        await self._stop_accepting(sockets or [])
        await self._go_on(self._drain_seconds / 2, ends)
        await self._end_all(ends)
        self._sweeping.cancel()
        self._edge.stop()

    async def _go_on(self, seconds: float, ends: float) -> None:
        """Serve for `seconds`, or until `ends`, whichever is first."""
        loop = asyncio.get_running_loop()
        until = min(loop.time() + seconds, ends)
        while loop.time() < until and not self.force_exit:
            # While another serves, the host is ready, whichever worker is asked.
            self._edge.is_leaving = self.should_exit and not worker_states.count(
                WorkerState.SERVING
            )
            await asyncio.sleep(min(LOOK_SECONDS, seconds))

    async def _stop_accepting(self, sockets: Sequence[socket.socket]) -> None:
        """Close the listening sockets, but serve the clients that wait in their queues.

        A client that the loop has not accepted yet would be reset, so this accepts all that wait.
        Only a client of the microseconds between that and the close is reset.
        """
        for one in self._listeners:
            asyncio.get_running_loop().remove_reader(one)
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        waiting = [client for one in self._listeners for client in _accept_all(one)]
        for one in self._listeners:
            one.close()
        await asyncio.gather(*map(self._connect, waiting))

    async def _connect(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        make = partial(Protocol, config=self.config, server_state=self.server_state, app_state={})
        with suppress(OSError):  # it has gone
            await loop.connect_accepted_socket(make, client, ssl=self.config.ssl)

    async def _end_all(self, ends: float) -> None:
        """Close idle connections, and wait for the requests under way."""
        loop, state = asyncio.get_running_loop(), self.server_state
        await asyncio.sleep(LOOK_SECONDS)  # the loop makes connections of what it has accepted
        while state.connections or state.tasks:
            if self.force_exit or loop.time() >= ends:
                for connection in self._connections():
                    connection.transport.abort()
                await asyncio.sleep(LOOK_SECONDS)
                return
            _close_idle(self._connections())
            await asyncio.sleep(LOOK_SECONDS)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the clients that wait."""
    listener.settimeout(0)
    with suppress(OSError):  # BlockingIOError: nobody waits
        while True:
            yield listener.accept()[0]


def _close_idle(connections: Sequence[Protocol]) -> None:
    """Close the connections on which nothing has arrived, also nothing that is still to be read."""
    idle = {one.descriptor: one for one in connections if one.is_idle}
    poll = select.poll()
    for descriptor in idle:
        poll.register(descriptor, select.POLLIN)
    arrived = {descriptor for descriptor, _ in poll.poll(0)}
    for descriptor in idle.keys() - arrived:
        idle[descriptor].transport.close()
