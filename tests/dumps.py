"""Run the scripts that dump and restore databases of the suite's servers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from psycopg2.extensions import parse_dsn

from dev.embedded.programs import find_postgres
from shop.config import ROOT


def programs() -> Path:
    return find_postgres()[0]


def environment(url: str, **more: str) -> dict[str, str]:
    """Return the environment in which programs of PostgreSQL use the database at `url`."""
    place = parse_dsn(url)
    path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ, "PATH": path, "PGHOST": place["host"], "PGUSER": place["user"],
        "PGDATABASE": place["dbname"], **more,
    }  # fmt: skip


def run(program: str, *arguments: object, url: str, **more: str) -> str:
    """Run a program of PostgreSQL, or a script of deploy/; return its output."""
    there = ROOT / "deploy" / program
    command = ["sh", str(there)] if there.exists() else [program]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment(url, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=True,
    ).stdout  # fmt: skip


def backup(url: str, directory: Path, **more: str) -> Path:
    return Path(run("backup.sh", directory, url=url, **more).split(": ")[0])


def restore(dump: Path, url: str, **more: str) -> str:
    return run("restore.sh", dump, url=url, YES="1", **more)


def named(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return url.replace("/shop?", f"/{name}?")
