"""Identify the caller of each request; let only those with a scope, or a session, pass."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from flask import g, request

from shop.config import DATABASE_UNAVAILABLE
from shop.extensions import db
from shop.openapi import Blueprint
from shop.problems import (
    InvalidKeyError,
    KeyRequiredError,
    NoKeysError,
    ScopeRequiredError,
    SessionRequiredError,
)
from shop.sessions import service as sessions

from . import service
from .caller import Caller, caller, stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

P = ParamSpec("P")
R = TypeVar("R")

NO_KEYS = (
    "Nobody has a key yet: set ADMIN_API_KEY, or make a key with "
    "`flask keys create --name NAME --scope catalog:write`."
)
OPENS_SESSIONS = "sessions.open_session"
NO_SESSION = "Open a session with POST /sessions, and send it: Authorization: Bearer TOKEN."


def init_app(app: Flask) -> None:
    app.before_request(_identify_caller)


def _identify_caller() -> None:
    if token := _bearer():
        try:
            g.caller = _holder(token)
        except DATABASE_UNAVAILABLE as error:
            # A read needs no key: without the database it may still be answered from the cache.
            # What needs one, or depends on one, is refused when the limits of the address have been
            # charged.
            g.unidentified = error
            db.session.rollback()


def _holder(token: str) -> Caller:
    """Return who holds an API key, or the token of a session."""
    if not sessions.TOKEN.fullmatch(token):
        return service.identify(token) or stranger()
    if request.endpoint == OPENS_SESSIONS:
        return caller()  # or each would bring a quota for more
    token_hash = sessions.hash_of(token)
    session_id = sessions.identify(token_hash)
    g.pop("cache_outcome", None)  # how the session was had says nothing of the answer
    if session_id is None:
        return caller()  # it has ended, and nobody can guess one: its address goes on as before
    return Caller(sessions.client_of(token_hash), session_id=session_id)


def _bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def require_scope(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a caller without a valid key (401), or whose key lacks the scope (403)."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if "unidentified" in g:
                raise g.unidentified
            if caller().session_id:
                message = f"A session may not do this: it needs a key with the scope {scope}."
                raise ScopeRequiredError(message, scope=scope)
            if not caller().authenticated:
                _refuse()
            if scope not in caller().scopes:
                raise ScopeRequiredError(f"This key lacks the scope {scope}.", scope=scope)
            return view(*args, **kwargs)

        documented: Callable[P, R] = Blueprint.doc(security=[{"key": []}])(guarded)
        return documented

    return decorate


def has_scope(scope: str) -> bool:
    """Tell whether the caller has a valid key with the scope.

    Raises what kept the key from being looked up: nobody knows then.
    """
    if "unidentified" in g and not sessions.TOKEN.fullmatch(_bearer() or ""):
        raise g.unidentified
    return scope in caller().scopes


def require_session(view: Callable[P, R]) -> Callable[P, R]:
    """Refuse a caller without a session (401)."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if "unidentified" in g:
            raise g.unidentified
        if caller().session_id is None:
            raise SessionRequiredError(NO_SESSION)
        return view(*args, **kwargs)

    documented: Callable[P, R] = Blueprint.doc(security=[{"session": []}])(guarded)
    return documented


def _refuse() -> None:
    if not service.any_key():
        raise NoKeysError(NO_KEYS)
    if _bearer():
        raise InvalidKeyError("This key is not valid.")
    raise KeyRequiredError("Send a key: Authorization: Bearer KEY.")
