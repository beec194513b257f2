"""How a request that uses the database is carried out: once more if nothing was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, g, has_app_context
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shop.facts import facts

from .failures import UNDONE, sqlstate

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@event.listens_for(Session, "after_commit")
def _note_commit(_session: Session) -> None:
    if has_app_context():
        g.has_committed = True


class RetryingFlask(Flask):
    """Calls the view of a request again where nothing was done, and the next try may succeed.

    The pooled connection may have led to a server that is a standby now, or others were ahead in
    taking locks. What has been committed is not done twice: then the error stays one.
    """

    def dispatch_request(self) -> ResponseReturnValue:
        if error := facts().failed:
            raise error  # nobody waits for it twice
        g.has_committed = False
        try:
            return super().dispatch_request()
        except DBAPIError as error:
            if sqlstate(error) not in UNDONE or g.has_committed:
                raise
            self.extensions["sqlalchemy"].session.remove()
        return super().dispatch_request()
