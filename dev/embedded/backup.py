"""`make backup` and `make restore`, for the database of `make run`."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import psycopg2
from psycopg2.extensions import parse_dsn

from shop.config import DOT_ENV, ROOT, RUNNING_ENV
from shop.environment import read_lines

from . import EmbeddedError
from .clean import BACKUPS
from .home import Home
from .programs import find_postgres
from .servers import Postgres

# libpq's variables for the parts of a URL.
VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
    "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
}  # fmt: skip
USAGE = "usage: python -m dev.embedded.backup backup | restore FILE"


def backup() -> int:
    """Dump the database that `make run` serves, or that it has served."""
    with ExitStack() as stack:
        url = _own_url() or _running_url() or _start(stack)
        return _run("backup.sh", str(BACKUPS), url=url)


def restore(file: str) -> int:
    """Restore a dump into the database of `make run`, which must be stopped."""
    if _own_url():
        raise EmbeddedError("DATABASE_URL names another database: see deploy/restore.sh")
    with ExitStack() as stack:
        return _run("restore.sh", file, url=_start(stack))


def _own_url() -> str | None:
    return os.environ.get("DATABASE_URL") or read_lines(DOT_ENV).get("DATABASE_URL")


def _running_url() -> str | None:
    """Return the URL of the server that `make run` has started, if it runs."""
    url = read_lines(RUNNING_ENV).get("DATABASE_URL")
    if url is None:
        return None
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return None
    return url


def _start(stack: ExitStack) -> str:
    """Start the server until the end of `stack`; return its URL. Refuse if `make run` runs."""
    home = Home.at(RUNNING_ENV.parent)
    server = Postgres(home, lock=stack.enter_context(home.locked(timeout=1)))
    stack.callback(server.stop)
    server.start()
    return server.url


def _run(script: str, argument: str, *, url: str) -> int:
    programs, _ = find_postgres()
    place = {VARIABLES[name]: value for name, value in parse_dsn(url).items() if name in VARIABLES}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(  # noqa: S603
        ["/bin/sh", str(ROOT / "deploy" / script), argument],
        env={**os.environ, **place, "PATH": path},
        check=False,
    ).returncode


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["backup"]:
                status = backup()
            case ["restore", file]:
                status = restore(file)
            case _:
                raise SystemExit(USAGE)
    except EmbeddedError as error:
        raise SystemExit(f"make {sys.argv[1]}: {error}") from None
    raise SystemExit(status)


if __name__ == "__main__":
    main()
