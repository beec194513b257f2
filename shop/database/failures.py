"""The meaning of PostgreSQL's errors, by SQLSTATE: their text is in the server's language.

A failure that passes by itself is 503, and one that a person has to end is 500. None of them is a
bug here, so that none is logged with a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop import problems

from .reach import nobody_listens

if TYPE_CHECKING:
    from shop.problems import ShopError

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError)
HELD_UP = {"40P01", "55P03", "57014"}  # statements that waited for too long
UNDONE = {"25006", "40001", "40P01"}  # nothing was done, and the next try may succeed
SPOILT = {"25006", "25P02"}  # the session is of no use to the next request

UNREACHABLE = "The database cannot be reached now."
READ_ONLY = "The database takes no writes now; nothing was done."
BUSY = "What this needs is held by others for too long; nothing was done."
REFUSED = "The database refuses the service; its log says why."

Meaning = tuple["type[ShopError]", str]
UNAVAILABLE: Meaning = (problems.DatabaseUnavailableError, UNREACHABLE)
HELD: Meaning = (problems.DatabaseBusyError, BUSY)
MISCONFIGURED: Meaning = (problems.InternalError, REFUSED)
# A whole SQLSTATE goes before its class, which is its first two characters.
MEANINGS: dict[str, Meaning] = {
    "08": UNAVAILABLE,  # connection exception
    "25006": (problems.DatabaseReadOnlyError, READ_ONLY),  # read-only transaction
    "25P02": UNAVAILABLE,  # a transaction that failed before
    "25P03": UNAVAILABLE,  # idle in transaction for too long
    "25P04": HELD,  # transaction timeout
    "28": MISCONFIGURED,  # a login is refused
    "3D": MISCONFIGURED,  # no such database
    "3F": MISCONFIGURED,  # no such schema
    "40001": HELD,  # conflict with another transaction, or with recovery
    "40003": UNAVAILABLE,  # nobody knows whether the statement was completed
    "40P01": HELD,  # deadlock
    "42501": MISCONFIGURED,  # insufficient privilege
    "53": UNAVAILABLE,  # out of connections, memory or disk
    "55006": HELD,  # object in use
    "55P03": HELD,  # lock not available
    "57": UNAVAILABLE,  # shutdown, crash, start
    "57014": HELD,  # statement timeout
    "58": MISCONFIGURED,  # the server's own files
    "XX": MISCONFIGURED,  # the server's own data
}


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of an error of SQLAlchemy or the driver, if PostgreSQL has told one."""
    state: str | None = getattr(getattr(error, "orig", error), "pgcode", None)
    return state


def is_database_gone(error: BaseException) -> bool:
    """Tell whether an error says that the database cannot be reached, by nobody.

    A connection could not be made, and not because a server that is there refused this one.
    """
    return isinstance(error, OperationalError) and nobody_listens(error.orig)


def is_held_up(error: BaseException) -> bool:
    """Tell whether a statement has waited for too long, in a database that is there."""
    return sqlstate(error) in HELD_UP


def meaning(error: DBAPIError) -> Meaning | None:
    """Return the kind of problem that an error is, and its detail; None: a fault of the service."""
    state = sqlstate(error)
    if state is None:
        is_of_connection = isinstance(error, OperationalError | InterfaceError)
        return UNAVAILABLE if is_of_connection or error.connection_invalidated else None
    return MEANINGS.get(state) or MEANINGS.get(state[:2])
