"""The problems that PostgreSQL's errors become, by SQLSTATE: the text depends on a language.

A failure that passes by itself is 503; a failure that a person has to end is 500. None of these is
a bug here, so none is logged with a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop import problems

from .listeners import nobody_listens

if TYPE_CHECKING:
    from shop.problems import ShopError

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError)
BUSY_STATES = {"40P01", "55P03", "57014"}  # a statement has waited for too long
RETRYABLE_STATES = {"25006", "40001", "40P01"}  # nothing was done; the next try may succeed
UNUSABLE_SESSION_STATES = {"25006", "25P02"}  # the next request needs another session

UNREACHABLE_DETAIL = "The database cannot be reached now."
READ_ONLY_DETAIL = "The database takes no writes now; nothing was done."
BUSY_DETAIL = "What this needs is held by others for too long; nothing was done."
REFUSED_DETAIL = "The database refuses the service; its log says why."

DatabaseProblem = tuple["type[ShopError]", str]
UNAVAILABLE: DatabaseProblem = (problems.DatabaseUnavailableError, UNREACHABLE_DETAIL)
BUSY: DatabaseProblem = (problems.DatabaseBusyError, BUSY_DETAIL)
MISCONFIGURED: DatabaseProblem = (problems.InternalError, REFUSED_DETAIL)
# A whole SQLSTATE overrides its class, the first two characters.
PROBLEM_BY_STATE: dict[str, DatabaseProblem] = {
    "08": UNAVAILABLE,  # connection exception
    "25006": (problems.DatabaseReadOnlyError, READ_ONLY_DETAIL),  # read-only transaction
    "25P02": UNAVAILABLE,  # a transaction that failed before
    "25P03": UNAVAILABLE,  # idle in transaction for too long
    "25P04": BUSY,  # transaction timeout
    "28": MISCONFIGURED,  # a login is refused
    "3D": MISCONFIGURED,  # no such database
    "3F": MISCONFIGURED,  # no such schema
    "40001": BUSY,  # conflict with another transaction, or with recovery
    "40003": UNAVAILABLE,  # nobody knows whether the statement was completed
    "40P01": BUSY,  # deadlock
    "42501": MISCONFIGURED,  # insufficient privilege
    "53": UNAVAILABLE,  # out of connections, memory or disk
    "55006": BUSY,  # object in use
    "55P03": BUSY,  # lock not available
    "57": UNAVAILABLE,  # shutdown, crash, start
    "57014": BUSY,  # statement timeout
    "58": MISCONFIGURED,  # the server's own files
    "XX": MISCONFIGURED,  # the server's own data
}


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of an error of SQLAlchemy or the driver; None if it has none."""
    state: str | None = getattr(getattr(error, "orig", error), "pgcode", None)
    return state


def is_database_gone(error: BaseException) -> bool:
    """Tell whether nobody can reach the database, by an error.

    A connection that a present server has refused does not count.
    """
    return isinstance(error, OperationalError) and nobody_listens(error.orig)


def is_busy(error: BaseException) -> bool:
    """Tell whether a statement has waited for too long in a database that can be reached."""
    return sqlstate(error) in BUSY_STATES


def database_problem(error: DBAPIError) -> DatabaseProblem | None:
    """Return the problem of an error, and its detail; None for a fault of the service."""
    state = sqlstate(error)
    if state is None:
        is_of_connection = isinstance(error, OperationalError | InterfaceError)
        return UNAVAILABLE if is_of_connection or error.connection_invalidated else None
    return PROBLEM_BY_STATE.get(state) or PROBLEM_BY_STATE.get(state[:2])
