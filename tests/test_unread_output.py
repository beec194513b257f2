"""Output that is not read: no process waits for a reader, and dropped lines are reported."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from conftest import ADMIN_KEY, ROOT, await_true
from ports import free_port

from shop.orders import leaderboard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

    Start = Callable[..., subprocess.Popen[bytes]]
    Serve = Callable[[], "Served"]

PROGRAMS = Path(sys.executable).parent
PIPE_SIZE = 4096  # bytes, the smallest that Linux has
LONG = "x" * 2000  # a path
PRELUDE = """
import os, sys
from shop.logs import dropped_line
from shop.output import write_in_background
write_in_background(dropped_line)
"""


class Pipe:
    """A pipe that is not read until a test begins to read."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._read = b""
        self._thread: threading.Thread | None = None

    def fill(self) -> None:
        """Leave no room for another byte."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"\n")
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def read(self, pause: float = 0) -> None:
        """Begin to read, with so many seconds between every 1000 bytes."""

        def work() -> None:
            while data := os.read(self.reader, 1000):
                self._read += data
                threading.Event().wait(pause)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        return list(filter(None, self._read.decode().split("\n")[:-1]))

    def await_line(self, part: str) -> None:
        await_true(lambda: any(part in line for line in self.lines()), part)

    def end(self) -> list[str]:
        """Return all lines when the last who writes has ended."""
        os.close(self.writer)
        if not self._thread:
            self.read()
        assert self._thread
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.lines()


class Served:
    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"
        self.asked = 0  # requests that are logged

    def get(self, path: str) -> requests.Response:
        self.asked += 1
        return requests.get(self._url + path, timeout=120)

    def change_price(self) -> requests.Response:
        self.asked += 1
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        url, changes = f"{self._url}/products/1", {"price": "3.00"}
        return requests.patch(url, json=changes, headers=headers, timeout=120)

    def lives(self) -> bool:
        try:
            return requests.get(f"{self._url}/livez", timeout=120).ok
        except requests.ConnectionError:
            return False

    def dropped(self) -> int:
        [count] = re.findall(
            r"^shop_log_dropped_lines_total (\S+)", self.get("/metrics").text, re.MULTILINE
        )
        return int(float(count))

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(120)


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
def start(settings: dict[str, str], pipe: Pipe) -> Iterator[Start]:
    """Start programs whose standard output and error are the pipe."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(*command: str, **changes: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **settings, "LOG_LEVEL": "INFO", **changes}
        process = subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            stdout=pipe.writer,
            stderr=pipe.writer,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def serve(start: Start, a_shop: Shop) -> Serve:
    """Serve a shop with one product, by one worker."""
    a_shop.create_product()

    def serve_one() -> Served:
        port = free_port()
        command = ("gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{port}")
        served = Served(port, start(*command, WEB_CONCURRENCY="1"))
        await_true(served.lives)
        return served

    return serve_one


def test_a_service_whose_output_nobody_reads_goes_on_answering(serve: Serve, pipe: Pipe) -> None:
    served = serve()
    assert served.change_price().status_code == 200
    pipe.fill()
    while not served.dropped():
        for _ in range(20):
            assert served.get(f"/{LONG}").status_code == 404
    assert served.change_price().json()["price"] == "3.00"
    assert [served.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert served.lives()
    asked = served.asked
    pipe.read()
    pipe.await_line("Lines were dropped")
    dropped = served.dropped()
    served.get("/products/1")
    assert served.stop() == 0
    lines = [json.loads(line) for line in pipe.end()]
    [told] = [line for line in lines if line["message"].startswith("Lines were dropped")]
    assert (told["level"], told["logger"]) == ("WARNING", "shop.logs")
    assert told["message"].endswith(f": {dropped}")
    before = [line for line in lines[: lines.index(told)] if line["logger"] == "shop.access"]
    others = 1  # of the second write: `Invalidated products:id:1`
    assert dropped == asked - len(before) + others
    after = [line["message"] for line in lines[lines.index(told) + 1 :]]
    assert after[0].startswith("GET /metrics")
    assert after[1].startswith("GET /products/1")
    assert after[-1] == "Shutting down: Master"


def test_a_service_whose_output_nobody_reads_restarts_its_workers_and_ends(
    serve: Serve, pipe: Pipe
) -> None:
    served = serve()
    pipe.fill()
    found = subprocess.run(
        ["pgrep", "--parent", str(served.process.pid)], capture_output=True, check=True
    )
    os.kill(int(found.stdout), signal.SIGKILL)
    await_true(served.lives)
    assert served.get("/products/1").ok
    assert served.stop() == 0


def test_a_service_whose_reader_has_gone_goes_on_and_ends(serve: Serve, pipe: Pipe) -> None:
    served = serve()
    os.close(pipe.reader)
    before = served.dropped()
    await_true(lambda: served.dropped() > before)
    assert served.get("/products/1").ok
    assert served.stop() == 0


def test_a_slow_reader_gets_every_line_in_order(serve: Serve, pipe: Pipe) -> None:
    """Lines that are left at the end are included."""
    served = serve()
    pipe.fill()
    for number in range(100):
        served.get(f"/{number}")
    pipe.read(pause=0.005)
    assert served.stop() == 0
    lines = [json.loads(line) for line in pipe.end()]
    paths = [line["path"] for line in lines if line["logger"] == "shop.access"]
    assert paths == [f"/{number}" for number in range(100)]
    assert lines[-1]["message"] == "Shutting down: Master"


def test_a_worker_whose_output_nobody_reads_works_and_ends(
    start: Start, pipe: Pipe, redis_cli: Any
) -> None:
    pipe.fill()
    worker = start("flask", "worker")
    board = f"{leaderboard.FAMILY}:*"
    await_true(lambda: redis_cli.keys(board), board)
    worker.terminate()
    assert worker.wait(120) == 0


def test_make_run_whose_output_nobody_reads_ends(start: Start, pipe: Pipe) -> None:
    pipe.fill()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        run = start("python", "-m", "dev.embedded", PORT=str(busy.getsockname()[1]))
        assert run.wait(120) == 1
    pipe.read()


def test_a_program_whose_terminal_was_stopped_ends(settings: dict[str, str]) -> None:
    """Ctrl-S stops a terminal so."""
    _, terminal = os.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    command = [sys.executable, "-c", f"{PRELUDE}\nprint('x')"]
    program = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=terminal)
    assert program.wait(120) == 0


def test_output_to_stdout_and_stderr_keeps_its_order(start: Start, pipe: Pipe) -> None:
    """The pipe does not block, and is full now and then."""
    os.set_blocking(pipe.writer, False)
    script = "for n in range(2000): print(n, file=(sys.stdout, sys.stderr)[n % 2])"
    program = start("python", "-c", f"{PRELUDE}\n{script}")
    pipe.read(pause=0.001)
    assert program.wait(120) == 0
    assert pipe.end() == [str(n) for n in range(2000)]


def test_the_traceback_of_a_failed_program_is_printed(start: Start, pipe: Pipe) -> None:
    assert start("python", "-c", f"{PRELUDE}\n1 / 0").wait(120) == 1
    assert pipe.end()[-1] == "ZeroDivisionError: division by zero"


def test_lines_of_several_processes_stay_whole(start: Start, pipe: Pipe) -> None:
    script = f"{PRELUDE}\nfor n in range(500): print('<' + {'x' * 300!r} + '>')"
    programs = [start("python", "-c", script) for _ in range(2)]
    pipe.read()
    assert [program.wait(120) for program in programs] == [0, 0]
    assert pipe.end() == [f"<{'x' * 300}>"] * 1000


def test_output_that_waits_at_a_fork_is_written_once(start: Start, pipe: Pipe) -> None:
    script = """
print("parent")
child = os.fork()
print("then the parent" if child else "child")
if child:
    os.waitpid(child, 0)
"""
    pipe.fill()
    program = start("python", "-c", PRELUDE + script)
    pipe.read(pause=0.01)
    assert program.wait(120) == 0
    assert sorted(pipe.end()) == ["child", "parent", "then the parent"]


def test_a_line_that_comes_right_before_a_fork_is_written(start: Start, pipe: Pipe) -> None:
    """The fork ends the thread that writes before it has seen the line."""
    script = """
output = sys.stdout.buffer
print("first", flush=True)
while not output._is_idle:
    os.sched_yield()
with output._changed:  # which the thread waits for
    print("second", flush=True)
    if not os.fork():
        os._exit(0)
os.wait()
print("third")
"""
    pipe.read()
    assert start("python", "-c", PRELUDE + script).wait(120) == 0
    assert pipe.end() == ["first", "second", "third"]


def test_a_line_in_a_file_is_there_at_once(tmp_path: Path) -> None:
    """The process is killed next."""
    script = f"{PRELUDE}\nprint('x', file=sys.stderr)\nos.kill(os.getpid(), 9)"
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, stderr=file, check=False)
    assert (tmp_path / "log").read_text() == "x\n"
