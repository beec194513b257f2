"""Connections to PostgreSQL: their settings, their checks, and the text of their errors.

PostgreSQL's message about an error can have a customer's data in it: the failing row, the refused
value, the statement. So the text of every error is replaced by its SQLSTATE and the constraint,
table or column that it is about, before a log, a command or a traceback prints it.
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
    TRANSACTION_IDLE_SECONDS,
    current_settings,
)
from shop.facts import is_request
from shop.prometheus import Gauge

from .failures import UNUSABLE_SESSION_STATES
from .listeners import note_addresses

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect, ExceptionContext

# SQLSTATEs whose message may be logged: it names states and parts of the schema, and never a value.
LOGGED_CLASSES = {"08", "25", "40", "53", "57"}
LOGGED_CODES = {"42501", "42703", "42P01", "55P03"}
SCHEMA_OBJECTS = ("constraint", "table", "column")

PQERRORS_SQLSTATE = 3  # since PostgreSQL 12
READ_ONLY_PARAMETERS = ("default_transaction_read_only", "in_hot_standby")  # reported by the server


CONNECTIONS = Gauge(
    "shop_database_connections",
    "Connections to PostgreSQL that workers use, or keep.",
    ["state"],
    multiprocess_mode="livesum",
)
CONNECTIONS_MAX = Gauge(
    "shop_database_connections_max",
    "Connections to PostgreSQL that workers can have at most.",
    multiprocess_mode="livesum",
)


def count_connections(engine: Engine) -> None:
    """Set the gauges of the connections of this process; call it now and then."""
    pool: Any = engine.pool
    CONNECTIONS.labels("in_use").set(pool.checkedout())
    CONNECTIONS.labels("idle").set(pool.checkedin())
    CONNECTIONS_MAX.set(DATABASE_POOL["pool_size"] + DATABASE_POOL["max_overflow"])


def engine_options(url: str) -> dict[str, Any]:
    """Return the options of SQLAlchemy's engine for a database."""
    given = make_url(url).query
    defaults = {name: value for name, value in DATABASE_CONNECTION.items() if name not in given}
    return {**DATABASE_POOL, "connect_args": defaults}


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Dialect, _record: Any, positional: Any, parameters: Any) -> Any:
    """Make a connection. Note the tried addresses on an error, for `listeners.nobody_listens`."""
    try:
        return dialect.connect(*positional, **parameters)
    except psycopg2.OperationalError as error:
        note_addresses(error, parameters)
        raise


@event.listens_for(Pool, "connect")
def _prepare(connection: Any, record: Any) -> None:
    _limit_error_text(connection)
    record.info["fresh"] = True


@event.listens_for(Engine, "do_execute")
def _execute(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Send the settings of a transaction with its first statement, in one round trip.

    Settings of the session would stay on a connection that a pooler gives to others.
    """
    if not _begins_transaction(cursor):
        return False
    if cursor.name is not None:  # the driver makes DECLARE CURSOR of the statement
        _send_settings(cursor)
        return False
    cursor.execute(f"{_settings()}{statement}", parameters)
    return True  # the statement is executed


@event.listens_for(Engine, "do_executemany")
def _execute_many(cursor: Any, *_: Any) -> None:
    if _begins_transaction(cursor):
        _send_settings(cursor)


def _send_settings(cursor: Any) -> None:
    """Send the settings alone, for a statement that cannot be sent with them."""
    with cursor.connection.cursor() as another:
        another.execute(_settings())


def _begins_transaction(cursor: Any) -> bool:
    """Tell whether a statement begins a transaction that has to get its settings.

    What PostgreSQL is sent together is a transaction, so the settings reach a read outside of any,
    too. Other statements of commands may not be in one (`CREATE INDEX CONCURRENTLY`).
    """
    driver = cursor.connection
    if driver.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    return not driver.autocommit or is_request()


def _settings() -> str:
    if not is_request():  # statements of commands may take any time
        return _settings_of()
    settings = current_settings()
    return _settings_of(settings.database_lock_timeout, settings.database_statement_timeout)


@lru_cache
def _settings_of(lock_timeout: int = 0, statement_timeout: int = 0) -> str:
    """Return the SET statements of a transaction; timeouts in milliseconds, 0 for none."""
    values = {
        # Each statement sees every earlier commit: the cache relies on that. The driver's own
        # setting of it costs a statement each time that `autocommit` ends.
        "transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": f"{TRANSACTION_IDLE_SECONDS}s",
        "client_min_messages": "error",
        # PostgreSQL would compile a plan for a second that might read many rows, and reads few.
        "jit": "off",
    }
    if lock_timeout:
        values["lock_timeout"] = f"{lock_timeout}ms"
    if statement_timeout:
        values["statement_timeout"] = f"{statement_timeout}ms"
    return "".join(f"SET LOCAL {name} = '{value}';" for name, value in values.items())


def is_read_only(connection: Any) -> bool:
    """Tell whether PostgreSQL has reported that a connection of the driver cannot write."""
    return any(connection.get_parameter_status(name) == "on" for name in READ_ONLY_PARAMETERS)


def _limit_error_text(connection: Any) -> None:
    """Limit the text of the driver's errors to their SQLSTATE, also outside of the engine.

    The driver has no function for that; its libpq has. Without access to that libpq,
    `_replace_text` still replaces the text of errors that pass the engine.
    """
    with suppress(AttributeError, OSError):  # the driver hides its libpq
        set_verbosity = ctypes.CDLL(_psycopg.__file__).PQsetErrorVerbosity
        set_verbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
        set_verbosity(connection.pgconn_ptr, PQERRORS_SQLSTATE)


@event.listens_for(Pool, "checkin")
def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


@event.listens_for(Pool, "checkout")
def _check(connection: Any, record: Any, _proxy: Any) -> None:
    """Replace a connection that PostgreSQL has ended, so that a restart fails no request.

    Between statements PostgreSQL sends nothing but the end and changed settings, so this check
    costs no round trip. If a new connection has ended as well, its first statement raises.

    A connection that cannot write is replaced, too: it may lead to a standby, which is behind,
    while a new one leads to the primary. So is a connection that was idle for long: it may lead
    nowhere, and a statement would wait until TCP gives up.
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
def _drop_spoilt(context: ExceptionContext) -> None:
    """Replace all connections of the pool when one is unusable: the others may be, too."""
    if getattr(context.original_exception, "pgcode", None) in UNUSABLE_SESSION_STATES:
        context.is_disconnect = True


@event.listens_for(Engine, "handle_error")
def _replace_text(context: ExceptionContext) -> None:
    """Replace the text of an error before it is printed anywhere."""
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    if wrapped is None:
        return
    text = _safe_text(original)
    if isinstance(original, Exception):
        original.args = (text,)
    wrapped.args = (f"({type(original).__module__}.{type(original).__name__}) {text}",)


def _safe_text(error: BaseException) -> str:
    """Return one line about an error of the database, without customers' data.

    An error of the connection has no SQLSTATE, and no statement: its own text is returned. Another
    error that is not PostgreSQL's has the name of its class alone.
    """
    if not isinstance(error, psycopg2.Error):
        return type(error).__name__
    if error.pgcode is None:
        connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return " ".join(str(error).split()) if connection else type(error).__name__
    named = [(name, getattr(error.diag, f"{name}_name", None)) for name in SCHEMA_OBJECTS]
    about = [f", {name} {value}" for name, value in named if value]
    text = f"{type(error).__name__} (SQLSTATE {error.pgcode}){''.join(about)}"
    raised = getattr(error.diag, "source_function", None) == "exec_stmt_raise"  # by a trigger
    if not raised and (error.pgcode[:2] in LOGGED_CLASSES or error.pgcode in LOGGED_CODES):
        text += f": {error.diag.message_primary}"
    return text
