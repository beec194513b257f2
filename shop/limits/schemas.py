from __future__ import annotations

from marshmallow import Schema, fields, validate

from shop.config import TIERS


class PolicySchema(Schema):
    policy = fields.String(required=True)
    quota = fields.Integer(required=True, metadata={"description": "In one window."})
    window = fields.Integer(required=True, metadata={"description": "Seconds."})
    remaining = fields.Integer(required=True)
    reset = fields.Integer(
        required=True,
        metadata={"description": "Seconds until some of it is free again; 0 if all of it is."},
    )


class RateLimitSchema(Schema):
    client = fields.String(
        required=True,
        metadata={
            "description": "Who is counted: an address, key:PREFIX, admin, or unknown for whom a "
            "proxy names no address."
        },
    )
    tier = fields.String(required=True, validate=validate.OneOf(TIERS))
    policies = fields.List(fields.Nested(PolicySchema), required=True)
