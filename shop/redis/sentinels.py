"""Sentinels, which tell where the master is. No request waits for them.

A thread for each asks it again and again. Connections are made to the master that is known, and
left when another one is: sentinels that are gone cost nobody anything while the master lives.
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

    from .urls import Place

logger = logging.getLogger("shop.redis")

ASK_SECONDS = 0.1  # between two questions: as often as the watch looks
PATIENCE_SECONDS = 0.5  # that the first call of a process waits for the first answer
SILENT = Gauge(
    "shop_redis_sentinels_unreachable",
    "Sentinels that do not tell this worker where the master is.",
    multiprocess_mode="livemax",
)


class Told(NamedTuple):
    """What a sentinel says of the master."""

    epoch: int  # a failover has a higher one than those before it
    master: Place


class Sentinels:
    """Where the master is, as those of the sentinels say that know it best."""

    def __init__(self, service: str, clients: Mapping[Place, redis.Redis]) -> None:
        self._service = service
        self._clients = clients
        self._told: dict[Place, Told | None] = dict.fromkeys(clients)
        self._silent: set[Place] = set()
        self._known: Told | None = None
        self._is_known = threading.Event()
        self._lock = threading.Lock()
        self._has_started = False
        self._end = threading.Event()
        os.register_at_fork(after_in_child=self._forget_threads)

    @property
    def master(self) -> Place | None:
        """The master that is known, if any."""
        return self._known and self._known.master

    @property
    def silent(self) -> int:
        """How many sentinels do not answer."""
        return len(self._silent)

    def await_master(self) -> Place:
        """Return the master; wait only as long as none is known. Raises redis.ConnectionError."""
        self._start()
        self._is_known.wait(PATIENCE_SECONDS)
        if self._known is None:
            raise redis.ConnectionError("no sentinel tells where the master is")
        return self._known.master

    def stop(self) -> None:
        """Ask no longer."""
        self._end.set()

    def _start(self) -> None:
        with self._lock:
            if self._has_started:
                return
            self._has_started = True
        for place in self._clients:
            threading.Thread(
                target=self._ask_on, args=[place], name="redis-sentinel", daemon=True
            ).start()

    def _forget_threads(self) -> None:
        self._lock = threading.Lock()
        self._has_started = False

    def _ask_on(self, place: Place) -> None:
        while not self._end.is_set():
            self._note(place, *self._ask(place))
            self._end.wait(ASK_SECONDS)

    def _ask(self, place: Place) -> tuple[Told | None, str]:
        """Return what a sentinel says, or why it does not."""
        client: Any = self._clients[place]
        try:
            with client.pipeline(transaction=False) as both:
                both.execute_command("SENTINEL MASTER", self._service)
                both.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self._service)
                state, (host, port) = both.execute()
            return Told(int(state["config-epoch"]), (host.decode(), port)), ""
        except (redis.RedisError, OSError, ValueError, TypeError, KeyError) as error:
            return None, f"{error}" or type(error).__name__

    def _note(self, place: Place, told: Told | None, reason: str) -> None:
        with self._lock:
            self._told[place] = told
            if told and self._is_better(told):
                self._known = told
                self._is_known.set()
            if (told is None) != (place in self._silent):
                self._tell(place, reason)

    def _is_better(self, told: Told) -> bool:
        """Tell whether to believe it: those that were cut off for a time know an older master.

        All epochs begin anew where the sentinels are made anew. Then most of them agree, and none
        says what is known so far.
        """
        if self._known is None or told.epoch > self._known.epoch:
            return True
        if self._known in self._told.values():
            return False
        agree = [one for one in self._told.values() if one == told]
        return len(agree) * 2 > len(self._told)

    def _tell(self, place: Place, reason: str) -> None:
        host, port = place
        if reason:
            self._silent.add(place)
            logger.warning("The sentinel %s:%s does not answer: %.200s", host, port, reason)
        else:
            self._silent.remove(place)
            logger.warning("The sentinel %s:%s answers again", host, port)
        SILENT.set(len(self._silent))


def connection_class(base: type[Any], sentinels: Sentinels) -> type[Any]:
    """Return a class of connections that lead to the master of now."""

    class MasterConnection(base):  # type: ignore[misc]
        connects = False  # now, and logs in

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
