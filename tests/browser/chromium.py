"""Chromium without a window, driven by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from fcntl import F_DUPFD, fcntl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/bin"))
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root, as which containers run, has none; it opens pages of the tests alone
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# The browser reads from descriptor 3 and writes to 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
SECONDS = 120  # for anything that the browser does: on a busy machine it begins slowly


def find_chromium() -> str | None:
    """Return the path of a Chromium of this machine."""
    found = (shutil.which(program, path=PLACES) for program in PROGRAMS)
    return next(filter(None, found), None)


# Lets a script of a page wait for what it looks for.
UNTIL = """
const until = async (find, what) => {
  for (const began = Date.now(); Date.now() - began < 60_000; ) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`There is no ${what}`);
};
"""


class Chromium:
    """A browser; it ends when its pipe is closed, so also when the tests are killed."""

    def __init__(self, program: str, home: Path) -> None:
        self._log = home / "chromium.log"
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        ends = [fcntl(end, F_DUPFD, 10) for end in (commands, answers)]  # out of the way of 3, 4
        launch = [sys.executable, "-I", "-c", LAUNCH, *map(str, ends)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*launch, program, *OPTIONS, f"--user-data-dir={home / 'profile'}"],
                pass_fds=ends,
                stdout=log,
                stderr=log,
            )
        for end in (commands, answers, *ends):
            os.close(end)
        self._number = 0
        self._read = b""
        self.events: list[dict[str, Any]] = []

    def stop(self) -> None:
        os.close(self._commands)
        self._process.wait(SECONDS)
        os.close(self._answers)

    def open(self, url: str) -> Page:
        """Open a page that shares nothing with others, and wait until it has loaded."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        page.load(url)
        return page

    def call(self, method: str, page: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if page:
            message["sessionId"] = page
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self.wait(lambda answer: answer.get("id") == number)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message from now on that is wanted; keep the events before it."""
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._message(deadline)
            if wanted(message):
                return message
            self.events.append(message)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select(
                [self._answers], [], [], max(0, deadline - time.monotonic())
            )
            more = os.read(self._answers, 65536) if ready else b""
            assert more, f"Chromium does not answer:\n{self._log.read_text()[-2000:]}"
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Page:
    """A page in a browser."""

    def __init__(self, browser: Chromium, identifier: str) -> None:
        self._browser = browser
        self._identifier = identifier
        for domain in ("Log", "Runtime"):
            self.call(f"{domain}.enable")

    def load(self, url: str) -> None:
        """Go to an address, and wait until all of it has loaded."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, (url, answer["errorText"])
        self.run("""
            if (document.readyState !== "complete")
              await new Promise((resolve) => addEventListener("load", resolve));
        """)

    def run(self, script: str) -> Any:
        """Return what a script returns; it is the body of an async function."""
        answer = self.call(
            "Runtime.evaluate",
            expression=f"(async () => {{{script}\n}})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Return the errors that the browser has logged of this page, and those of its scripts."""
        events = [one for one in self._browser.events if one.get("sessionId") == self._identifier]
        logged = [one["params"]["entry"] for one in events if one["method"] == "Log.entryAdded"]
        thrown = [
            one["params"]["exceptionDetails"]["text"]
            for one in events
            if one["method"] == "Runtime.exceptionThrown"
        ]
        return thrown + [entry["text"] for entry in logged if entry["level"] == "error"]

    def screenshot(self, path: Path) -> None:
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._identifier, **parameters)
