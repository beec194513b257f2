"""`make monitor`: Prometheus, Alertmanager and the exporters of this machine, beside `make run`.

They use the files of deploy/monitoring/, listen on the loopback address, and keep their data in
instance/. Ctrl-C, SIGTERM, or the end of one of them ends all.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg2

from dev.embedded import EmbeddedError
from dev.embedded.foreground import StopFlag, run_in_foreground, say
from dev.embedded.home import Home
from dev.embedded.servers import SupervisedProcess
from shop import read_settings
from shop.config import ROOT, RUNNING_ENV, settings_from_files

from .programs import HOST, is_usable, known_programs, without_driver

if TYPE_CHECKING:
    from pathlib import Path

    from shop.config import Settings

    from .programs import Program

CONFIGURATION = ROOT / "deploy" / "monitoring"
START_SECONDS = 30
MISSING = (
    "no prometheus here: install it (on Debian, apt-get install prometheus prometheus-alertmanager "
    "prometheus-redis-exporter prometheus-postgres-exporter prometheus-blackbox-exporter)"
)
NOT_RUNNING = "nothing runs in this checkout: start make run in another terminal first"


def main() -> None:
    run_in_foreground("make monitor", _start)


def _start(stack: ExitStack, stop: StopFlag) -> list[SupervisedProcess]:
    if not shutil.which("prometheus"):
        raise EmbeddedError(MISSING)
    if not RUNNING_ENV.exists():
        raise EmbeddedError(NOT_RUNNING)
    settings = read_settings(settings_from_files() | dict(os.environ))
    home = Home.at(RUNNING_ENV.parent)
    place = home.directory("monitoring")
    _count_statements(settings.database_url)
    programs = known_programs(settings)
    started = [one for one in programs if is_usable(one)]
    for program in started:
        program.port = _free_port(program.wanted_port)
    _write_configuration(place, settings, programs)
    children = []
    for program in started:
        say(f"starting {program.name}")
        log = place / f"{program.name}.log"
        arguments = [one.format(port=program.port, place=place) for one in program.arguments]
        child = SupervisedProcess(
            program.name,
            [program.name, *arguments],
            account=home.account,
            log=log,
            environment={"PATH": os.environ["PATH"], **program.environment},
            directory=place,
        )
        stack.callback(child.stop)
        children.append(child)
        _await_ready(program, child, stop, log)
    say(_banner(started, place))
    return children


def _count_statements(url: str) -> None:
    """Let PostgreSQL show its slowest statements, where its role may."""
    with suppress(psycopg2.Error):
        connection = psycopg2.connect(without_driver(url))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        finally:
            connection.close()


def _free_port(wanted: int) -> int:
    """Return the wanted port, or another one if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found: int = probe.getsockname()[1]
            return found
    raise EmbeddedError("no port can be had")


def _write_configuration(place: Path, settings: Settings, programs: list[Program]) -> None:
    """Copy the files of deploy/monitoring/, with the addresses of this machine."""
    for path in CONFIGURATION.glob("*.yml"):
        shutil.copyfile(path, place / path.name)
    token = place / "metrics_token"
    token.touch(mode=0o600)
    token.write_text(settings.metrics_token or "open to all")
    shutil.chown(token, *_owner(place))
    service = f"{HOST}:{settings.port}"
    text = (CONFIGURATION / "prometheus.yml").read_text()
    text = text.replace("api:8000", service).replace("/run/secrets/metrics_token", token.name)
    for program in programs:
        if program.port:
            text = text.replace(program.container, program.address)
        else:
            text = text.replace(f'["{program.container}"]', "[]")
    (place / "prometheus.yml").write_text(text)
    is_probed = any(one.port for one in programs if "blackbox" in one.name)
    front = f'- targets: ["http://{service}/livez"]' if is_probed else "[]"
    (place / "front.yml").write_text(front + "\n")


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def _await_ready(program: Program, child: SupervisedProcess, stop: StopFlag, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not stop.wait(0.1) and not _is_ready(program):
        if child.exit_status() is not None or time.monotonic() > deadline:
            raise EmbeddedError(f"{program.name} did not start: {log} says why")


def _is_ready(program: Program) -> bool:
    connection = http.client.HTTPConnection(HOST, program.port, timeout=5)
    try:
        connection.request("GET", program.ready_path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _banner(started: list[Program], place: Path) -> str:
    """Return the addresses, alerts first."""
    prometheus = started[0].address
    lines = [
        f"  {'alerts':<30} http://{prometheus}/alerts",
        f"  {'targets':<30} http://{prometheus}/targets",
        *(f"  {one.name:<30} http://{one.address}" for one in started),
        f"  {'data and logs':<30} {place}",
    ]
    return "\n" + "\n".join(lines) + "\n\n  Ctrl-C stops all of them.\n"


if __name__ == "__main__":
    main()
