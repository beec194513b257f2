"""Ask sentinels for the master of Redis. No request waits for them.

A thread for each sentinel asks it again and again. Connections lead to the known master, and are
closed when another one is known. So lost sentinels cost nothing while the master lives.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from shop.prometheus import Gauge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .urls import HostPort

logger = logging.getLogger("shop.redis")

ASK_SECONDS = 0.1  # between two questions, as between two looks of the cache's watch
PATIENCE_SECONDS = 0.5  # for which the first call of a process waits for the first answer
SILENT = Gauge(
    "shop_redis_sentinels_unreachable",
    "Sentinels that do not tell this worker where the master is.",
    multiprocess_mode="livemax",
)


class MasterReport(NamedTuple):
    """The master, as one sentinel names it."""

    epoch: int  # a failover has a higher one than those before it
    master: HostPort


class Sentinels:
    """The sentinels of a service, and the master that they name."""

    def __init__(self, service: str, clients: Mapping[HostPort, redis.Redis]) -> None:
        self._service = service
        self._clients = clients
        self._reports: dict[HostPort, MasterReport | None] = dict.fromkeys(clients)
        self._silent: set[HostPort] = set()
        self._known: MasterReport | None = None
        self._is_known = threading.Event()
        self._lock = threading.Lock()
        self._has_started = False
        self._end = threading.Event()
        os.register_at_fork(after_in_child=self._forget_threads)

    @property
    def master(self) -> HostPort | None:
        """The known master, if any."""
        return self._known and self._known.master

    @property
    def silent(self) -> int:
        """Number of sentinels that do not answer."""
        return len(self._silent)

    def await_master(self) -> HostPort:
        """Return the master; wait only while none is known. Raises redis.ConnectionError."""
        self._start()
        self._is_known.wait(PATIENCE_SECONDS)
        if self._known is None:
            raise redis.ConnectionError("no sentinel tells where the master is")
        return self._known.master

    def stop(self) -> None:
        """Stop asking."""
        self._end.set()

    def _start(self) -> None:
        with self._lock:
            if self._has_started:
                return
            self._has_started = True
        for server in self._clients:
            threading.Thread(
                target=self._ask_on, args=[server], name="redis-sentinel", daemon=True
            ).start()

    def _forget_threads(self) -> None:
        self._lock = threading.Lock()
        self._has_started = False

    def _ask_on(self, server: HostPort) -> None:
        while not self._end.is_set():
            self._note(server, *self._ask(server))
            self._end.wait(ASK_SECONDS)

    def _ask(self, server: HostPort) -> tuple[MasterReport | None, str]:
        """Return the report of a sentinel, or None and the reason."""
        client: Any = self._clients[server]
        try:
            with client.pipeline(transaction=False) as both:
                both.execute_command("SENTINEL MASTER", self._service)
                both.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self._service)
                state, (host, port) = both.execute()
            return MasterReport(int(state["config-epoch"]), (host.decode(), port)), ""
        except (redis.RedisError, OSError, ValueError, TypeError, KeyError) as error:
            return None, f"{error}" or type(error).__name__

    def _note(self, server: HostPort, report: MasterReport | None, reason: str) -> None:
        with self._lock:
            self._reports[server] = report
            if report and self._is_better(report):
                self._known = report
                self._is_known.set()
            if (report is None) != (server in self._silent):
                self._log_change(server, reason)

    def _is_better(self, report: MasterReport) -> bool:
        """Return whether to believe a report: a sentinel that was cut off names an older master.

        Epochs begin anew when the sentinels are set up anew. Then most sentinels agree, and none
        reports the known master.
        """
        if self._known is None or report.epoch > self._known.epoch:
            return True
        if self._known in self._reports.values():
            return False
        agree = [one for one in self._reports.values() if one == report]
        return len(agree) * 2 > len(self._reports)

    def _log_change(self, server: HostPort, reason: str) -> None:
        host, port = server
        if reason:
            self._silent.add(server)
            logger.warning("The sentinel %s:%s does not answer: %.200s", host, port, reason)
        else:
            self._silent.remove(server)
            logger.warning("The sentinel %s:%s answers again", host, port)
        SILENT.set(len(self._silent))


def connection_class(base: type[Any], sentinels: Sentinels) -> type[Any]:
    """Return a class of connections that lead to the current master."""

    class MasterConnection(base):  # type: ignore[misc]
        connects = False  # True while it connects and logs in

        def connect_check_health(self, *arguments: Any, **options: Any) -> None:
            if not self._sock:
                self.host, self.port = sentinels.await_master()
            self.connects = True
            try:
                super().connect_check_health(*arguments, **options)
            finally:
                self.connects = False

        def send_packed_command(self, *arguments: Any, **options: Any) -> None:
            is_replaced = (self.host, self.port) != sentinels.master
            if self._sock and is_replaced and not self.connects:
                self.disconnect()
            super().send_packed_command(*arguments, **options)

    return MasterConnection
