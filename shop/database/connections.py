"""Connections to PostgreSQL: how they are set, and what is told of their errors.

What PostgreSQL says of an error can have a customer's data in it: the failing row, the value that
was refused, the statement. So an error says its SQLSTATE and which constraint, table or column it
is about, wherever it is printed: in a log, by a command, in a traceback.
"""

from __future__ import annotations

import ctypes
import select
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import _psycopg
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

from shop.config import (
    DATABASE_CONNECTION,
    DATABASE_IDLE_SECONDS,
    DATABASE_POOL,
    ISOLATION,
    TRANSACTION_IDLE_SECONDS,
    current_settings,
)
from shop.facts import is_request

from .failures import SPOILT
from .reach import note_places

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect, ExceptionContext

# Classes and codes whose message names states and things of the schema, and never a value.
TOLD_CLASSES = {"08", "25", "40", "53", "57"}
TOLD_CODES = {"42501", "42703", "42P01", "55P03"}
NAMES = ("constraint", "table", "column")

PQERRORS_SQLSTATE = 3  # since PostgreSQL 12
READ_ONLY = ("default_transaction_read_only", "in_hot_standby")  # told with each answer


def engine_options(url: str) -> dict[str, Any]:
    """Return the options of SQLAlchemy's engine for a database."""
    told = make_url(url).query
    defaults = {name: value for name, value in DATABASE_CONNECTION.items() if name not in told}
    return {**DATABASE_POOL, "isolation_level": ISOLATION, "connect_args": defaults}


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Dialect, _record: Any, positional: Any, parameters: Any) -> Any:
    """Make a connection. An error tells where it was to lead, for `reach.nobody_listens`."""
    try:
        return dialect.connect(*positional, **parameters)
    except psycopg2.OperationalError as error:
        note_places(error, parameters)
        raise


@event.listens_for(Pool, "connect")
def _prepare(connection: Any, record: Any) -> None:
    _say_least(connection)
    record.info["fresh"] = True


@event.listens_for(Engine, "do_execute")
def _execute(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Send the settings of a transaction ahead of its first statement, in the same round trip.

    Those of a session would stay, with a pooler, on a connection that others use.
    """
    if not _begins_transaction(cursor):
        return False
    if cursor.name is not None:  # whose rows are streamed, by a statement that is made of it
        _send_settings(cursor)
        return False
    cursor.execute(f"{_settings()}{statement}", parameters)
    return True  # it is done


@event.listens_for(Engine, "do_executemany")
def _execute_many(cursor: Any, *_: Any) -> None:
    if _begins_transaction(cursor):
        _send_settings(cursor)


def _send_settings(cursor: Any) -> None:
    """Send the settings alone, where a statement cannot take them along."""
    with cursor.connection.cursor() as another:
        another.execute(_settings())


def _begins_transaction(cursor: Any) -> bool:
    driver = cursor.connection
    return not driver.autocommit and driver.info.transaction_status == TRANSACTION_STATUS_IDLE


def _settings() -> str:
    if not is_request():  # statements of commands may wait for long
        return _settings_of()
    settings = current_settings()
    return _settings_of(settings.database_lock_timeout, settings.database_statement_timeout)


@lru_cache
def _settings_of(lock_timeout: int = 0, statement_timeout: int = 0) -> str:
    """Return the statements that set a transaction; a timeout of so many milliseconds, if any."""
    values = {
        "idle_in_transaction_session_timeout": f"{TRANSACTION_IDLE_SECONDS}s",
        "client_min_messages": "error",
        # A plan that might read many rows would be compiled for a second, and then reads few.
        "jit": "off",
    }
    if lock_timeout:
        values["lock_timeout"] = f"{lock_timeout}ms"
    if statement_timeout:
        values["statement_timeout"] = f"{statement_timeout}ms"
    return "".join(f"SET LOCAL {name} = '{value}';" for name, value in values.items())


def is_read_only(connection: Any) -> bool:
    """Tell whether PostgreSQL has said that a connection of the driver cannot write."""
    return any(connection.get_parameter_status(name) == "on" for name in READ_ONLY)


def _say_least(connection: Any) -> None:
    """Let the text of the driver's errors be their SQLSTATE alone.

    The driver has no function for that, its libpq has. Where it cannot be reached, `_tell_safely`
    still replaces the text; this is for errors that do not pass the engine.
    """
    with suppress(AttributeError, OSError):  # a driver that hides its libpq
        set_verbosity = ctypes.CDLL(_psycopg.__file__).PQsetErrorVerbosity
        set_verbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
        set_verbosity(connection.pgconn_ptr, PQERRORS_SQLSTATE)


@event.listens_for(Pool, "checkin")
def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


@event.listens_for(Pool, "checkout")
def _test(connection: Any, record: Any, _proxy: Any) -> None:
    """Replace a connection that PostgreSQL has ended, so that a restart of it fails no request.

    PostgreSQL says nothing between statements, but for the end and changes of its settings; to look
    costs no round trip. Where a new one has ended as well, its first statement tells why.

    So is one replaced that cannot write: it may lead to a standby, which is behind, while a new one
    leads to the primary. And one that was idle for long, which may lead nowhere: a statement would
    wait until TCP gives up.
    """
    if record.info.pop("fresh", False):
        return
    idle = time.monotonic() - record.info.get("used", 0)
    if connection.closed or is_read_only(connection) or idle >= DATABASE_IDLE_SECONDS:
        raise DisconnectionError
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


@event.listens_for(Engine, "handle_error")
def _leave(context: ExceptionContext) -> None:
    """Leave all connections where one is spoilt: those of before may lead where it does."""
    if getattr(context.original_exception, "pgcode", None) in SPOILT:
        context.is_disconnect = True


@event.listens_for(Engine, "handle_error")
def _tell_safely(context: ExceptionContext) -> None:
    """Replace the text of an error before anybody sees it."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    if wrapped is None:
        return
    told = _told(original)
    if isinstance(original, Exception):
        original.args = (told,)
    wrapped.args = (f"({type(original).__module__}.{type(original).__name__}) {told}",)


def _told(error: BaseException) -> str:
    """Return what may be told of an error of the database, in one line.

    An error without a SQLSTATE is of the connection, which knows no statement: its text is told.
    Any other that is not PostgreSQL's is told by its kind.
    """
    if not isinstance(error, psycopg2.Error):
        return type(error).__name__
    if error.pgcode is None:
        connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return " ".join(str(error).split()) if connection else type(error).__name__
    named = [(name, getattr(error.diag, f"{name}_name", None)) for name in NAMES]
    about = [f", {name} {value}" for name, value in named if value]
    text = f"{type(error).__name__} (SQLSTATE {error.pgcode}){''.join(about)}"
    raised = getattr(error.diag, "source_function", None) == "exec_stmt_raise"  # by a trigger
    if not raised and (error.pgcode[:2] in TOLD_CLASSES or error.pgcode in TOLD_CODES):
        text += f": {error.diag.message_primary}"
    return text
