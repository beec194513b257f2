"""Tries a request once more when the database has done nothing, and may do it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, has_app_context
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shop.facts import current_facts

from .failures import RETRYABLE_STATES, sqlstate

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@event.listens_for(Session, "after_commit")
def _note_commit(_session: Session) -> None:
    if has_app_context():
        current_facts().has_committed = True


class RetryingFlask(Flask):
    """Calls the view of a request again if nothing was done, and the next try may succeed.

    The pooled connection may have led to a server that is a standby now, or others may have taken
    locks first. A request that has committed is not tried again: its error is answered.
    """

    def dispatch_request(self) -> ResponseReturnValue:
        known = current_facts()
        if known.read_error:
            raise known.read_error  # nobody waits for the same failure twice
        known.has_committed = False
        try:
            return super().dispatch_request()
        except DBAPIError as error:
            if sqlstate(error) not in RETRYABLE_STATES or known.has_committed:
                raise
            self.extensions["sqlalchemy"].session.remove()
        return super().dispatch_request()
