"""Run a command for no longer than the process that starts this supervisor.

    python supervisor.py STOP_SIGNAL ACCOUNT COMMAND...

The command runs as ACCOUNT: `user:group` in numbers, or `-` for the supervisor's own account. The
supervisor sends STOP_SIGNAL when its standard input ends, because the starting process has closed
it or has died, or when the supervisor gets SIGTERM. It kills a command that still runs STOP_SECONDS
later. It exits with the command's status. Only ACCOUNT can read the files that the command makes.

The supervisor needs the standard library alone, so that it starts fast and takes little memory.
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

    def end_with_supervisor() -> None:
        # If the supervisor itself is killed. Linux only: elsewhere the command would go on.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal)

    child = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_supervisor,  # noqa: PLW1509  (no thread runs yet)
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        umask=0o077,
    )
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    threading.Thread(target=_await_end_of_input, args=[stop_requested], daemon=True).start()
    threading.Thread(
        target=_stop_when, args=[stop_requested, child, stop_signal], daemon=True
    ).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _await_end_of_input(stop_requested: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop_requested.set()


def _stop_when(
    stop_requested: threading.Event, child: subprocess.Popen[bytes], stop_signal: int
) -> None:
    stop_requested.wait()
    child.send_signal(stop_signal)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
