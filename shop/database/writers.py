"""How many requests of a process may write at once: fewer than it has threads.

Writers may wait for each other in PostgreSQL, for as long as DATABASE_LOCK_TIMEOUT. The thread that
is left answers what needs no write: cached reads, and probes.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from shop.config import THREADS, current_settings
from shop.problems import DatabaseBusyError
from shop.prometheus import Counter

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = THREADS - 1
WAITED = 0.5  # of DATABASE_LOCK_TIMEOUT, until writers that do not get on count as held up

REFUSED = Counter("shop_writes_refused", "Writes refused while others held all places for writes.")


class Writers:
    """The places for writers of one process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._free = PLACES
        self._are_held_up = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block writes.

        A writer waits for a place as long as others get on. If none has for some time, those after
        it do not wait until one does: each would hold the thread that is left. A write that the
        database has failed has not got on. Raises DatabaseBusyError.
        """
        with self._changed:
            self._await_place()
            self._free -= 1
        got_on = True
        try:
            yield
        except DBAPIError:
            got_on = False
            raise
        finally:
            with self._changed:
                self._free += 1
                self._are_held_up = self._are_held_up and not got_on
                self._changed.notify_all()

    def _await_place(self) -> None:
        patience = current_settings().database_lock_timeout / 1000 * WAITED
        while not self._free:
            if self._are_held_up or not self._changed.wait(patience):
                self._are_held_up = True
                REFUSED.inc()
                raise DatabaseBusyError("Other writes wait for too long; nothing was done.")
