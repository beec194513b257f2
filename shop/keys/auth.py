"""Restrict routes to callers with a scope or with a session."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from shop.caller import SESSION_TOKEN, current_caller, sent_token
from shop.facts import current_facts
from shop.openapi import Blueprint
from shop.problems import (
    InvalidKeyError,
    KeyRequiredError,
    NoKeysError,
    NotFoundError,
    ScopeRequiredError,
    SessionRequiredError,
)

from . import service

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

NO_KEYS = (
    "Nobody has a key yet: set ADMIN_API_KEY, or make a key with "
    "`flask keys create --name NAME --scope catalog:write`."
)
NO_SESSION = "Open a session with POST /sessions, and send it: Authorization: Bearer TOKEN."
NEITHER = "Send a key or the token of a session: Authorization: Bearer TOKEN."


def require_scope(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a caller without a valid key (401), or whose key lacks the scope (403)."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            check_scope(scope)
            return view(*args, **kwargs)

        documented: Callable[P, R] = Blueprint.doc(security=[{"key": []}])(guarded)
        return documented

    return decorate


def require_scope_or_session(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a caller without a valid key or a session (401), or whose key lacks the scope (403).

    The view decides what a session may see.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if error := current_facts().lookup_error:
                raise error
            if current_caller().session_id is None:
                if not current_caller().authenticated:
                    _refuse_without_credential()
                _check_key_scope(scope)
            return view(*args, **kwargs)

        either: list[dict[str, list[str]]] = [{"key": []}, {"session": []}]
        documented: Callable[P, R] = Blueprint.doc(security=either)(guarded)
        return documented

    return decorate


def check_scope(scope: str) -> None:
    """Raise the error of a caller without a valid key, or of a key that lacks the scope."""
    if error := current_facts().lookup_error:
        raise error
    if current_caller().session_id:
        message = f"A session may not do this: it needs a key with the scope {scope}."
        raise ScopeRequiredError(message, scope=scope)
    if not current_caller().authenticated:
        _refuse_without_key()
    _check_key_scope(scope)


def has_scope(scope: str) -> bool:
    """Return whether the caller has a valid key with the scope; false without its lookup."""
    return scope in current_caller().scopes


def require_lookup_for_404(view: Callable[P, R]) -> Callable[P, R]:
    """Answer 404 only if the caller's key was looked up, because the key might show the row.

    If the lookup has failed, raise its error instead.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return view(*args, **kwargs)
        except NotFoundError:
            error = current_facts().lookup_error
            if error and not SESSION_TOKEN.fullmatch(sent_token()):
                raise error from None
            raise

    return guarded


def require_session(view: Callable[P, R]) -> Callable[P, R]:
    """Refuse a caller without a session (401)."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if error := current_facts().lookup_error:
            raise error
        if current_caller().session_id is None:
            raise SessionRequiredError(NO_SESSION)
        return view(*args, **kwargs)

    documented: Callable[P, R] = Blueprint.doc(security=[{"session": []}])(guarded)
    return documented


def _check_key_scope(scope: str) -> None:
    if not has_scope(scope):
        raise ScopeRequiredError(f"This key lacks the scope {scope}.", scope=scope)


def _refuse_without_credential() -> None:
    """Raise the error of a caller without a key and without a session."""
    token = sent_token()
    if not token:
        raise KeyRequiredError(NEITHER)
    if SESSION_TOKEN.fullmatch(token):
        raise SessionRequiredError(NO_SESSION)
    _refuse_without_key()


def _refuse_without_key() -> None:
    """Raise the error of a caller without a valid key."""
    if not service.has_any_key():
        raise NoKeysError(NO_KEYS)
    if sent_token():
        raise InvalidKeyError("This key is not valid.")
    raise KeyRequiredError("Send a key: Authorization: Bearer KEY.")
