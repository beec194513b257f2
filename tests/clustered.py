"""A Redis Cluster of three masters."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from conftest import await_true
from ports import free_cluster_port
from redis.crc import key_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartRedis

SLOTS = 16384


class Cluster(NamedTuple):
    ports: list[int]

    def client(self, number: int) -> Any:
        return redis.Redis(port=self.ports[number], socket_timeout=5)

    def process(self, number: int) -> int:
        with self.client(number) as client:
            found: int = client.info("server")["process_id"]
            return found

    def holder(self, name: str) -> int:
        """Return the number of the master that has a name."""
        return 3 * key_slot(name.encode()) // SLOTS

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.ports[0]}"

    def flush(self) -> None:
        for number in range(3):
            with self.client(number) as client:
                client.flushall()

    def calls(self, command: str) -> int:
        """Return how often the masters have carried out a command since they began."""
        found = 0
        for number in range(3):
            with self.client(number) as client:
                counts = client.info("commandstats")
            found += sum(
                one["calls"]
                for name, one in counts.items()
                if name.startswith(f"cmdstat_{command}")
            )
        return found

    def renew_life(self, number: int) -> None:
        """Give a master a new replication id, as a promotion does."""
        with self.client(number) as client:
            client.execute_command("DEBUG", "CHANGE-REPL-ID")

    def move(self, name: str, number: int) -> None:
        """Move a name to another master, with what is in its slot."""
        slot, source = key_slot(name.encode()), self.holder(name)
        with self.client(source) as old, self.client(number) as new:
            names = [one.execute_command("CLUSTER", "MYID") for one in (old, new)]
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                place = ("127.0.0.1", self.ports[number])
                old.execute_command("MIGRATE", *place, "", 0, 5000, "KEYS", *keys)
            for one in (new, old):
                one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[1])

    def is_well(self) -> bool:
        return all(self._knows_all(number) for number in range(3))

    def _knows_all(self, number: int) -> bool:
        with self.client(number) as client:
            state = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in state and "cluster_known_nodes:3" in state


def start_master(start_redis: StartRedis) -> int:
    port = free_cluster_port()
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
    options += ["--cluster-require-full-coverage", "no"]
    options += ["--enable-debug-command", "local"]
    return start_redis(*options, port=port)


@contextmanager
def a_cluster(start_redis: StartRedis) -> Iterator[Cluster]:
    ports: list[int] = []
    for number in range(3):
        port = start_master(start_redis)
        ports.append(port)
        first, last = -(-SLOTS * number // 3), -(-SLOTS * (number + 1) // 3) - 1
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
    made = Cluster(ports)
    await_true(made.is_well)
    processes = [made.process(number) for number in range(3)]
    yield made
    for process in processes:
        try:
            os.kill(process, signal.SIGCONT)
        except ProcessLookupError:
            continue
