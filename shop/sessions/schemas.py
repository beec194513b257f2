from __future__ import annotations

from marshmallow import Schema, fields

from shop.fields import Instant, describe


class SessionSchema(Schema):
    """A session, and its token."""

    token = fields.String(
        required=True,
        metadata=describe(
            "The token to send as `Authorization: Bearer TOKEN`. It is shown once.",
            "session_EXAMPLE-of-a-token-which-opens-no-cart-0123",
        ),
    )
    expires_at = Instant(
        required=True,
        metadata=Instant.OUTPUT
        | describe("The time at which the session ends; each use moves it on."),
    )
