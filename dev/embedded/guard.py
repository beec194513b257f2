"""Run a command for no longer than the process that asked for it.

    python guard.py STOP_SIGNAL ACCOUNT COMMAND...

The command runs as ACCOUNT (`user:group`, numbers; `-`: the guard's own). It is sent STOP_SIGNAL
when the guard's standard input ends (the asking process closed it, or died however it died) or
when the guard gets SIGTERM, and is killed if it is still there STOP_SECONDS later. The guard
exits with the command's status. The files that the command makes are its account's alone.

A program of its own, on the standard library alone, so that it starts fast and holds little.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 40
PR_SET_PDEATHSIG = 1


def run(stop_signal: int, account: str, command: list[str]) -> int:
    user, group = (None, None) if account == "-" else map(int, account.split(":"))

    def end_with_guard() -> None:
        # For a guard that is itself killed. Linux only; elsewhere the command would stay.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal)

    child = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_guard,  # noqa: PLW1509  (no thread runs yet)
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        umask=0o077,
    )
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    threading.Thread(target=_await_end_of_input, args=[asked], daemon=True).start()
    threading.Thread(target=_stop_when, args=[asked, child, stop_signal], daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _await_end_of_input(asked: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    asked.set()


def _stop_when(asked: threading.Event, child: subprocess.Popen[bytes], stop_signal: int) -> None:
    asked.wait()
    child.send_signal(stop_signal)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
