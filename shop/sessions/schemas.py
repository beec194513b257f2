from __future__ import annotations

from marshmallow import Schema, fields

from shop.fields import Instant, describe


class SessionSchema(Schema):
    """A session, and the token that sends it."""

    token = fields.String(
        required=True,
        metadata=describe(
            "What is sent as `Authorization: Bearer TOKEN`. It is shown once.",
            "session_EXAMPLE-of-a-token-which-opens-no-cart-0123",
        ),
    )
    expires_at = Instant(
        required=True,
        metadata=Instant.OUTPUT | describe("When it ends, unless it is used: that moves it on."),
    )
