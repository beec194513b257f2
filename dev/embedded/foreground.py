"""Run processes in the foreground of a terminal, until a signal comes or one of them ends."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from shop.environment import SettingError

from . import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .servers import Server, SupervisedProcess

    # Starts processes, which the end of the stack stops.
    Start = Callable[[ExitStack, "StopFlag"], Sequence[Server | SupervisedProcess]]


class StopFlag:
    """A flag that signals set. It takes no lock: a signal may come while another is handled."""

    def __init__(self) -> None:
        self._set = False

    @classmethod
    def of_signals(cls) -> StopFlag:
        """Return a flag that Ctrl-C, SIGTERM and the end of the terminal set."""
        stop = cls()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stop.set())
        return stop

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait unless the flag is set already; return whether it is set then."""
        if not self._set:
            time.sleep(seconds)
        return self._set


def run_in_foreground(command: str, start: Start) -> None:
    """Run what `start` starts until a signal comes; end `command` with one line if that fails."""
    stop = StopFlag.of_signals()
    try:
        with ExitStack() as stack:
            await_end(start(stack, stop), stop)
            with suppress(OSError):  # the terminal may be closed
                say("stopping")
    except (EmbeddedError, SettingError) as error:
        raise SystemExit(f"{command}: {error}") from None


def await_end(children: Sequence[Server | SupervisedProcess], stop: StopFlag) -> None:
    """Wait for the flag. Raises EmbeddedError when a process ends first."""
    while not stop.wait(0.2):
        for child in children:
            if child.exit_status() is not None:
                raise EmbeddedError(f"{child.name} has ended, so everything was stopped")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
