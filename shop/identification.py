"""Identify the caller of each request: the holder of an API key, a session, or a client address.

A credential in the cache costs no statement. Any other credential is looked up after a charge to
its client address, so an address that has spent its quota costs the database nothing, and leaves
nothing in Redis. If the credential is valid, the charge is repaid, and its holder is the caller.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app, request

from shop.caller import SESSION_TOKEN, address_caller, request_address, sent_token
from shop.database.failures import DATABASE_UNAVAILABLE
from shop.extensions import db
from shop.facts import Caller, current_facts
from shop.keys import service as keys
from shop.keys.valid_credentials import ValidCredentials
from shop.limits import limiter
from shop.sessions import service as sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from shop.cache import MemoizedMany

OPENS_SESSIONS = "sessions.open_session"


class Credential(NamedTuple):
    """A token in the form of a valid one, and the functions that find its holder."""

    hash: str
    documents: MemoizedMany[str]
    name: str  # of its document
    holder: Callable[[bytes], Caller | None]  # takes that document
    is_key: bool

    def unknown_caller(self) -> Caller:
        """Return the caller if the credential is not valid.

        An invalid session has ended, because nobody can guess one: its address is charged no more.
        """
        return address_caller(sent_unknown_key=self.is_key)


def init_app(app: Flask) -> None:
    app.extensions["shop.valid_credentials"] = ValidCredentials()
    app.before_request(_identify_caller)


def _identify_caller() -> None:
    token = sent_token()
    if not token or limiter.is_exempt():  # a route without limits needs no caller
        return
    if administrator := keys.find_administrator(token):
        current_facts().caller = administrator
    elif credential := _session(token) or _key(token):
        current_facts().caller = _identify(credential)
    elif not SESSION_TOKEN.fullmatch(token):
        current_facts().caller = address_caller(sent_unknown_key=True)


def _session(token: str) -> Credential | None:
    if not SESSION_TOKEN.fullmatch(token) or request.endpoint == OPENS_SESSIONS:
        return None  # the address pays for a new session, so that a session opens no further ones
    token_hash = sessions.hash_token(token)

    def holder(document: bytes) -> Caller | None:
        session_id = sessions.use_session(token_hash, document)
        if session_id is None:
            return None
        return Caller(sessions.client_name(token_hash), request_address(), session_id=session_id)

    return Credential(token_hash, sessions.session_documents, token_hash, holder, is_key=False)


def _key(token: str) -> Credential | None:
    found = keys.parse_key(token)
    if found is None:
        return None
    prefix, secret = found
    holder = partial(keys.find_holder, prefix, secret)
    return Credential(sessions.hash_token(token), keys.key_documents, prefix, holder, is_key=True)


def _identify(credential: Credential) -> Caller:
    try:
        return _holder(credential) or credential.unknown_caller()
    except DATABASE_UNAVAILABLE as error:
        # Without the database a read may still be answered from the cache. A route that needs a key
        # refuses, after the limits of the address have been charged.
        current_facts().lookup_error = error
        db.session.rollback()
        limiter.repay()
        return address_caller()
    finally:
        current_facts().outcome = None  # the lookup of a credential is no read of the answer


def _holder(credential: Credential) -> Caller | None:
    valid: ValidCredentials = current_app.extensions["shop.valid_credentials"]
    document = credential.documents.peek(credential.name)
    if document is not None:
        return valid.update(credential.hash, credential.holder(document))
    if current_facts().loop_usages is not None:  # the loop has found the session and charged it
        return _look_up(credential, valid)
    with valid.lock(credential.hash):
        if credential.hash in valid:  # it was valid before, so the address is not charged
            return _look_up(credential, valid)
        current_facts().caller = credential.unknown_caller()
        if not limiter.hold():
            return None
        found = _look_up(credential, valid)
        if found:
            limiter.repay()
        return found


def _look_up(credential: Credential, valid: ValidCredentials) -> Caller | None:
    document = credential.documents([credential.name]).get(credential.name, b"")
    return valid.update(credential.hash, credential.holder(document))
