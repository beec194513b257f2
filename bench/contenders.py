"""The contenders, and the servers that serve them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from . import BenchError

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
FASTAPI_PROGRAMS = ROOT / ".venv-bench" / "bin"
APPS_CONF = Path(__file__).parent / "apps" / "gunicorn_conf.py"
BARE_LOOP = "bare, on a loop"
BARE = ("bare", BARE_LOOP)
BEFORE = "before"
WRITE_KEY = "the-key-of-the-bench"
ITEM, PAGES, NOT_MODIFIED, REFUSED = "item", ("page10", "page100"), "304", "429"
MISS, WRITE = "miss", "write"
RUNGS = (ITEM, *PAGES, NOT_MODIFIED, REFUSED, MISS, WRITE)
QUOTA, USED_UP = 1_000_000, 5  # requests of a client in a period: for all rungs but 429; for 429


@dataclass(frozen=True)
class Contender:
    """A service that does the work, and the rungs that it takes part in."""

    name: str
    command: tuple[str, ...]
    rungs: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    quota: int = QUOTA
    workers_max: int | None = None
    directory: Path = ROOT

    def with_used_up_quota(self) -> Contender:
        return replace(self, quota=USED_UP, rungs=(REFUSED,))

    def settings(self, database: str, redis: str, workers: int) -> dict[str, str]:
        """Return the environment: what the product reads, and what the other apps read."""
        quota, period = str(self.quota), "60" if self.quota == QUOTA else "86400"
        return {
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "WEB_CONCURRENCY": str(workers),
            "RATE_LIMIT_CALLS": quota,
            "WRITE_LIMIT_CALLS": quota,
            "RATE_LIMIT_PERIOD": period,
            "ADMIN_API_KEY": WRITE_KEY,
            "LOG_LEVEL": "WARNING",
            "QUOTA": quota,
            "PERIOD": period,
            "WRITE_KEY": WRITE_KEY,
            "PYTHONPATH": str(self.directory),
            "PYTHONHASHSEED": "0",  # ETags of fastapi-cache2 are those of one process otherwise
            **dict(self.environment),
        }


def product(name: str, *rungs: str, edge: bool = True, log: str = "INFO") -> Contender:
    settings = (("EDGE_ENABLED", "true" if edge else "false"), ("LOG_LEVEL", log))
    return Contender(name, gunicorn(), rungs or RUNGS, settings)


def gunicorn(application: str | None = None, programs: Path = PROGRAMS) -> tuple[str, ...]:
    """Return the command that serves the product, or another application with its settings."""
    command = (str(programs / "gunicorn"), "--bind", "127.0.0.1:{port}")
    return (
        *command,
        *(("--config", str(APPS_CONF), application) if application else ("wsgi:app",)),
    )


def _uvicorn(
    application: str,
    loop: str = "uvloop",
    parser: str = "httptools",
    programs: Path = FASTAPI_PROGRAMS,
) -> tuple[str, ...]:
    return (
        *(str(programs / "uvicorn"), application, "--port", "{port}"),
        *("--loop", loop, "--http", parser, "--no-access-log", "--log-level", "warning"),
    )


def without(*rungs: str) -> tuple[str, ...]:
    return tuple(rung for rung in RUNGS if rung not in rungs)


CONTENDERS = (
    product("edge"),
    product("edge, no access log", ITEM, *PAGES, log="WARNING"),
    product("flask", edge=False),
    Contender("bare", gunicorn("bench.apps.bare:app"), without(REFUSED, MISS, WRITE)),
    Contender(
        BARE_LOOP,
        _uvicorn("bench.apps.bare_on_the_loop:app", programs=PROGRAMS),
        without(REFUSED, MISS, WRITE),
    ),
    Contender(
        "flask documented", gunicorn("bench.apps.flask_documented:app"), without(NOT_MODIFIED)
    ),
    Contender("fastapi documented", _uvicorn("bench.apps.fastapi_documented:app"), without(WRITE)),
    Contender("fastapi by hand", _uvicorn("bench.apps.fastapi_by_hand:app"), RUNGS),
    Contender(
        "fastapi by hand, plain uvicorn",
        _uvicorn("bench.apps.fastapi_by_hand:app", "asyncio", "h11"),
        (ITEM, *PAGES),
        # asyncio does not set TCP_NODELAY on the socket that uvicorn's workers share: each answer
        # would wait for an acknowledgement, 40 ms.
        workers_max=1,
    ),
)


def before(checkout: Path | None, *rungs: str) -> list[Contender]:
    """Return the service as another checkout has it, if one is given."""
    return [replace(product(BEFORE, *rungs), directory=checkout)] if checkout else []


def taking_part(workers: int, checkout: Path | None = None) -> list[Contender]:
    contenders = [*CONTENDERS, *before(checkout)]
    return [one for one in contenders if workers <= (one.workers_max or workers)]


def in_words(products: int, workers: int) -> str:
    """Return what all contenders are measured with."""
    return f"{products:,} products, {workers} worker{'' if workers == 1 else 's'}"


def check_environment() -> None:
    """Raises BenchError if the environment of the FastAPI contenders is not installed."""
    if not (FASTAPI_PROGRAMS / "uvicorn").exists():
        raise BenchError(f"{FASTAPI_PROGRAMS.parent.name} is not installed: run `make bench`")
