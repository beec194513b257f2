"""One window of load: requests, sent by wrk over connections that stay open."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRIPT = Path(__file__).with_name("wrk.lua")


class Request(NamedTuple):
    method: str
    address: str
    headers: dict[str, str] = {}  # noqa: RUF012  (never changed)
    body: str = ""

    def raw(self, host: str) -> bytes:
        """Return the request as HTTP/1.1 has it."""
        headers = {"Host": host, **self.headers}
        if self.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.address} HTTP/1.1\r\n{lines}\r\n{self.body}".encode()


class Window(NamedTuple):
    """The figures of one window of wrk."""

    requests: int
    seconds: float
    bytes: int
    p50: float  # milliseconds
    p99: float
    refused: int  # answers of 400 or more
    broken: int  # connections that failed, answers that did not come


def find() -> str:
    """Return the program. Raises BenchError where it is not installed."""
    if found := shutil.which("wrk"):
        return found
    raise BenchError("wrk is not installed: apt install wrk, or brew install wrk")


def load(port: int, requests: Iterable[Request], seconds: int, connections: int) -> Window:
    """Send the requests in turn, and again from the first, for so many whole seconds."""
    host = f"127.0.0.1:{port}"
    with tempfile.NamedTemporaryFile(prefix="shop-bench-", suffix=".http") as file:
        file.write(b"\0".join(request.raw(host) for request in requests))
        file.flush()
        command = [find(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        command += ["-s", str(SCRIPT), f"http://{host}", "--", file.name]
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        return Window(**json.loads(run.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        said = (run.stderr or run.stdout).strip().splitlines() or ["nothing"]
        raise BenchError(f"wrk failed: {said[-1]}") from None
