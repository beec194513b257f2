from __future__ import annotations

from marshmallow import Schema, fields

from shop.fields import Instant


class SessionSchema(Schema):
    token = fields.String(required=True, metadata={"description": "Shown once."})
    expires_at = Instant(
        required=True,
        metadata=Instant.OUTPUT | {"description": "Each use moves this on."},
    )
