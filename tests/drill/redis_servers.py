"""Redis servers that can be killed and hung: alone, behind sentinels, in a cluster, with TLS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import redis
from conftest import ROOT, await_true
from ports import free_cluster_port, free_port

from dev.embedded.servers import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certificates import Authority

    from dev.embedded.home import Home

MASTER = "main"


def options_of(name: str, values: dict[str, str] | None = None) -> list[str]:
    """Return the options in a file of deploy/redis/, with other values, as arguments."""
    text = (ROOT / "deploy" / "redis" / name).read_text()
    for old, new in (values or {}).items():
        text = text.replace(old, new)
    words = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return [word for name, *values in words for word in (f"--{name}", *values)]


class Node:
    """One Redis server, or sentinel."""

    def __init__(
        self,
        home: Home,
        *options: str,
        password: str | None = None,
        authority: Authority | None = None,  # of its TLS
    ) -> None:
        self.port = free_cluster_port()
        self.password = password
        self._authority = authority
        self._home = home
        self._place = home.directory(f"node-{self.port}")
        self._options = options
        self._hung = False
        self.start()

    def start(self) -> None:
        program = str(shutil.which("redis-server"))
        command = [program, *self._options, *self._listen(), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._place)]
        if "--sentinel" not in self._options:
            command += ["--save", "", "--repl-diskless-sync-delay", "0"]
        log = self._place.with_suffix(".log")
        self._program = SupervisedProcess("redis", command, account=self._home.account, log=log)
        await_true(self._answers, log)

    def _listen(self) -> list[str]:
        if self._authority is None:
            return ["--port", str(self.port)]
        asks = "--tls-auth-clients" in self._options
        here = {"/run/tls": str(self._authority.of("tls-redis")), "6379": str(self.port)}
        options = options_of("tls.conf", here)
        at = options.index("--tls-auth-clients")
        del options[at : at + 2]
        return [*options, *([] if asks else ["--tls-auth-clients", "no"])]

    def client(self) -> redis.Redis:
        tls = self._authority.options() if self._authority else {}
        return redis.Redis("127.0.0.1", self.port, password=self.password, socket_timeout=5, **tls)

    def call(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.stop()

    def hang(self) -> None:
        self._hung = True
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._hung = False
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._hung:
            self.go_on()
        self._program.stop()

    def _signal(self, number: signal.Signals) -> None:
        found = subprocess.run(
            ["pgrep", "-P", str(self._program.pid)], capture_output=True, text=True, check=True
        )
        for process in found.stdout.split():
            os.kill(int(process), number)

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except redis.RedisError:
            return False


class Group:
    """A master with two replicas, and three sentinels."""

    def __init__(
        self,
        home: Home,
        *options: str,
        password: str | None = None,  # of the sentinels
        authority: Authority | None = None,
    ) -> None:
        self._authority = authority
        safe = (*options_of("replicated.conf"), *options)
        self.master = Node(home, *safe, authority=authority)
        follow = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.replicas = [Node(home, *safe, *follow, authority=authority) for _ in range(2)]
        await_true(lambda: all(map(self._follows, self.replicas)))
        self.sentinels = [self._sentinel(home, password) for _ in range(3)]
        await_true(lambda: all(map(self._knows, self.sentinels)))

    def _sentinel(self, home: Home, password: str | None) -> Node:
        config = home.directory(f"sentinel-{free_port()}") / "sentinel.conf"
        text = (ROOT / "deploy" / "redis" / "sentinel.conf").read_text()
        lines = [text.replace("redis 6379", f"127.0.0.1 {self.master.port}")]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        config.write_text("\n".join(lines) + "\n")
        if home.account:
            os.chown(config, *home.account)
        options = (str(config), "--sentinel")
        return Node(home, *options, password=password, authority=self._authority)

    @staticmethod
    def _follows(replica: Node) -> bool:
        with replica.client() as client:
            return bool(client.info("replication")["master_link_status"] == "up")

    @staticmethod
    def _knows(sentinel: Node) -> bool:
        with sentinel.client() as client:
            [state] = client.sentinel_masters().values()
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 2)

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.hosts}/{MASTER}/0"

    def master_port(self) -> int:
        address = self.sentinels[0].call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(address[1])

    def stop(self) -> None:
        for node in [*self.sentinels, *self.replicas, self.master]:
            node.stop()


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, home: Home, authority: Authority | None = None) -> None:
        options = options_of("cluster.conf")
        self.nodes = [Node(home, *options, authority=authority) for _ in range(6)]
        command = ["redis-cli", "--cluster", "create", "--cluster-replicas", "1", "--cluster-yes"]
        command[3:3] = [f"127.0.0.1:{node.port}" for node in self.nodes]
        if authority:
            command[1:1] = ["--tls", "--cacert", str(authority.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        await_true(lambda: all(map(self._is_well, self.nodes)))

    @staticmethod
    def _is_well(node: Node) -> bool:
        return b"cluster_state:ok" in node.call("CLUSTER", "INFO")

    @staticmethod
    def has_failed(witness: Node, lost: Node) -> bool:
        """Tell whether another node takes a master for lost, and has the replica in its place."""
        lines = witness.call("CLUSTER", "NODES")
        return any(
            f":{lost.port}@" in line and "fail" in line and "?" not in line
            for line in str(lines).split("\\n")
        )

    def move(self, slots: Sequence[int]) -> None:
        """Move slots of the first master to the second, with the keys in them."""
        source, target = self.masters[:2]
        names = {one: one.call("CLUSTER", "MYID") for one in (source, target)}
        for slot in slots:
            target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
            source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
            while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
                source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "KEYS", *keys)
            for one in self.masters:
                one.call("CLUSTER", "SETSLOT", slot, "NODE", names[target])

    @property
    def masters(self) -> Sequence[Node]:
        return [node for node in self.nodes if node.call("ROLE")[0] == b"master"]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
