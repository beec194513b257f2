"""The states of the workers of one gunicorn, which all of them can read.

Each worker has a byte of memory that the master maps before it forks, and that all share. The
master writes it before the fork and after the end of the worker, and the worker in between.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

SLOTS = mmap.PAGESIZE  # more workers than ever live at once


class WorkerState(IntEnum):
    GONE = 0
    STARTING = 1  # it imports the application
    SERVING = 2
    LEAVING = 3


_states = mmap.mmap(-1, SLOTS)


def note(age: int, state: WorkerState) -> None:
    """Note the state of the worker with this number of gunicorn's."""
    _states[age % SLOTS] = state


def count(state: WorkerState) -> int:
    return _states[:].count(bytes([state]))
