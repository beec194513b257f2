"""What the workers of one gunicorn know of each other: who starts, and who serves.

Each has a byte of memory that the master maps before it forks, and all share. The master writes it
before the fork and after the end; in between the worker does.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

PLACES = mmap.PAGESIZE  # more workers than ever live at once


class State(IntEnum):
    GONE = 0
    STARTING = 1  # it imports the application
    SERVING = 2
    LEAVING = 3


_states = mmap.mmap(-1, PLACES)


def note(age: int, state: State) -> None:
    """Note the state of the worker to which gunicorn has given a number."""
    _states[age % PLACES] = state


def count(state: State) -> int:
    return _states[:].count(bytes([state]))
