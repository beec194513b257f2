"""The programs that watch the service, and how each is called here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dev.embedded.foreground import say

if TYPE_CHECKING:
    from shop.config import Settings

HOST = "127.0.0.1"
STORAGE = (
    *("--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB"),
    "--enable-feature=exemplar-storage",  # request ids of slow requests
)


@dataclass
class Program:
    """A program of this machine: its address in prometheus.yml, its port here, how it is called."""

    name: str
    container: str  # and port, as prometheus.yml has them
    wanted_port: int  # not the usual one, which a package's own service has taken
    ready_path: str
    arguments: list[str] = field(default_factory=list)  # {port} is the port, {place} its directory
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0  # not started

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


def known_programs(settings: Settings) -> list[Program]:
    """Return what this service can be watched with, Prometheus first."""
    listen = "--web.listen-address=127.0.0.1:{port}"
    return [
        Program(
            "prometheus",
            "prometheus:9090",
            9390,
            "/-/ready",
            [
                listen,
                "--config.file=prometheus.yml",
                "--storage.tsdb.path={place}/tsdb",
                *STORAGE,
            ],
        ),
        Program(
            "prometheus-alertmanager",
            "alertmanager:9093",
            9393,
            "/-/ready",
            # Without a cluster: it would look for an address of this machine that others reach.
            [
                *(listen, "--config.file=alertmanager.yml", "--storage.path={place}/alertmanager"),
                "--cluster.listen-address=",
            ],
        ),
        Program(
            "prometheus-postgres-exporter",
            "postgres_exporter:9187",
            9387,
            "/metrics",
            [listen, "--extend.query-path=postgres_queries.yml"],
            {"DATA_SOURCE_NAME": without_driver(settings.database_url), **_libpq()},
        ),
        Program(
            "prometheus-blackbox-exporter",
            "blackbox_exporter:9115",
            9315,
            "/-/healthy",
            [listen, "--config.file=blackbox.yml"],
        ),
        Program(
            "prometheus-redis-exporter",
            "redis_exporter:9121",
            9321,
            "/health",
            [f"-{listen[2:]}"],
            {"REDIS_ADDR": _one_redis(settings.redis_url)},  # no argument: it may have a password
        ),
    ]


def _one_redis(url: str) -> str:
    """Return the URL for the exporter; empty if it is one of sentinels or a cluster."""
    address, _, _ = url.partition("?")
    return address if address.startswith(("redis://", "rediss://", "unix://")) else ""


def without_driver(url: str) -> str:
    """Return the URL without a driver of SQLAlchemy's."""
    scheme, separator, rest = url.partition("://")
    return scheme.partition("+")[0] + separator + rest


def _libpq() -> dict[str, str]:
    """Return the variables of libpq; the exporter insists on TLS unless one says otherwise."""
    named = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    return {"PGSSLMODE": "disable"} | named


def is_usable(program: Program) -> bool:
    if not shutil.which(program.name):
        say(f"without {program.name}: it is not installed")
    elif program.environment.get("REDIS_ADDR") == "":
        say(f"without {program.name}: it watches one Redis, no sentinels and no cluster")
    else:
        return True
    return False
